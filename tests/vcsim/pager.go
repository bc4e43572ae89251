// pager.go - RetrievePropertiesEx page by page, as vCenter answers it.
package main

import (
	"strconv"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// pager gives the property collector the paging the simulator lacks. The
// simulator makes one zero value of this type per session (session_manager.go).
type pager struct {
	simulator.PropertyCollector
	pages map[string]page
	n     int
}

type page struct {
	objs []types.ObjectContent
	max  int32
}

var theServer *server // for pager, which the simulator makes by reflection

var pageMax int32 // -page: most objects in one reply, whatever the client asked for

func (p *pager) cut(objs []types.ObjectContent, max int32) ([]types.ObjectContent, string) {
	if pageMax > 0 && (max <= 0 || max > pageMax) {
		max = pageMax
	}
	if max <= 0 || len(objs) <= int(max) {
		return objs, ""
	}
	if p.pages == nil {
		p.pages = map[string]page{}
	}
	token := strconv.Itoa(p.n) // the first is "0", as on vCenter
	p.n++
	p.pages[token] = page{objs[max:], max}
	return objs[:max], token
}

func (p *pager) RetrievePropertiesEx(ctx *simulator.Context, r *types.RetrievePropertiesEx) soap.HasFault {
	res := p.PropertyCollector.RetrievePropertiesEx(ctx, r)
	body, ok := res.(*methods.RetrievePropertiesExBody)
	if !ok || body.Res == nil || body.Res.Returnval == nil {
		return res
	}
	for i := range body.Res.Returnval.Objects {
		o := &body.Res.Returnval.Objects[i]
		for _, m := range o.MissingSet {
			if f, ok := m.Fault.Fault.(*types.InvalidProperty); ok {
				// the simulator reports an unknown path per object, vCenter fails the whole call
				return &methods.RetrievePropertiesExBody{Fault_: simulator.Fault("", f)}
			}
		}
		if st := theServer.vms[o.Obj]; st != nil && st.spec.NoRead && ctx.Session != nil {
			keep := o.PropSet[:0]
			for _, q := range o.PropSet {
				if q.Name == "name" {
					keep = append(keep, q)
					continue
				}
				o.MissingSet = append(o.MissingSet, types.MissingProperty{Path: q.Name, Fault: types.LocalizedMethodFault{
					Fault: &types.NoPermission{Object: o.Obj, PrivilegeId: "System.Read"}, LocalizedMessage: faultText["NoPermission"]}})
			}
			o.PropSet = keep
		}
	}
	if len(body.Res.Returnval.Objects) == 0 {
		body.Res.Returnval = nil // vCenter leaves returnval out when nothing matched
		return res
	}
	max := r.Options.MaxObjects
	body.Res.Returnval.Objects, body.Res.Returnval.Token = p.cut(body.Res.Returnval.Objects, max)
	return res
}

func (p *pager) ContinueRetrievePropertiesEx(ctx *simulator.Context, r *types.ContinueRetrievePropertiesEx) soap.HasFault {
	body := &methods.ContinueRetrievePropertiesExBody{}
	rest, ok := p.pages[r.Token]
	if !ok {
		body.Fault_ = simulator.Fault("A specified parameter was not correct: token", &types.InvalidArgument{InvalidProperty: "token"})
		return body
	}
	delete(p.pages, r.Token)
	objs, token := p.cut(rest.objs, rest.max)
	body.Res = &types.ContinueRetrievePropertiesExResponse{Returnval: types.RetrieveResult{Token: token, Objects: objs}}
	return body
}

func (p *pager) CancelRetrievePropertiesEx(ctx *simulator.Context, r *types.CancelRetrievePropertiesEx) soap.HasFault {
	delete(p.pages, r.Token)
	return &methods.CancelRetrievePropertiesExBody{Res: &types.CancelRetrievePropertiesExResponse{}}
}
