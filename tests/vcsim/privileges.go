// privileges.go - what the login may do: everything but what the fault "denied"
// lists, which is told by FetchUserPrivilegeOnEntities and held by the methods.
package main

import (
	"fmt"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

const extAuth = "VcsimxAuthorizationManager"

// needed says which privilege a method takes, as the vSphere Web Services API reference lists them.
var needed = map[string]string{
	"ExportVm": "VApp.Export", "ExportSnapshot": "VApp.Export",
	"PowerOffVM_Task": "VirtualMachine.Interact.PowerOff", "ShutdownGuest": "VirtualMachine.Interact.PowerOff",
	"PowerOnVM_Task":      "VirtualMachine.Interact.PowerOn",
	"CreateSnapshot_Task": "VirtualMachine.State.CreateSnapshot", "RemoveSnapshot_Task": "VirtualMachine.State.RemoveSnapshot",
	"Rename_Task": "VirtualMachine.Config.Rename", "MoveIntoFolder_Task": "VirtualMachine.Inventory.Move",
}

type authExt struct{ *vmExt }

// denied says whether a privilege was taken from the login.
func (s *state) denied(privilege string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range s.f.Denied {
		if d == privilege {
			return true
		}
	}
	return false
}

// refusal is the answer to a method that the login may not call; "" where it may.
func (s *server) refusal(c soapCall) string {
	privilege := needed[c.method]
	if privilege == "" || !s.state.denied(privilege) {
		return ""
	}
	return fmt.Sprintf(noPermission, xmlEscape(c.kind), xmlEscape(c.value), privilege)
}

const noPermission = `<?xml version="1.0" encoding="UTF-8"?>
<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/"
 xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">
<soapenv:Body>
<soapenv:Fault><faultcode>ServerFaultCode</faultcode><faultstring>Permission to perform this operation was denied.</faultstring><detail><NoPermissionFault xmlns="urn:vim25" xsi:type="NoPermission"><object type="%s">%s</object><privilegeId>%s</privilegeId></NoPermissionFault></detail></soapenv:Fault>
</soapenv:Body>
</soapenv:Envelope>
`

// FetchUserPrivilegeOnEntities tells what the login may do; an ESXi host of "no_authorization" does not
// know the method.
func (e *authExt) FetchUserPrivilegeOnEntities(ctx *simulator.Context, req *types.FetchUserPrivilegeOnEntities) soap.HasFault {
	body := &methods.FetchUserPrivilegeOnEntitiesBody{}
	if e.s.state.flag(func(f *faults) bool { return f.NoAuthorization }) {
		body.Fault_ = simulator.Fault("The operation is not supported on the object.", &types.NotSupported{})
		return body
	}
	m := simulator.Map.Get(e.ref).(*simulator.AuthorizationManager)
	var all []string
	for _, role := range m.RoleList {
		if role.Name == "Admin" {
			all = append(all, role.Privilege...)
		}
	}
	all = append(all, "InventoryService.Tagging.AttachTag") // of the REST API's service, which the library leaves out
	body.Res = &types.FetchUserPrivilegeOnEntitiesResponse{}
	for _, entity := range req.Entities {
		r := types.UserPrivilegeResult{Entity: entity}
		for _, p := range all {
			if !e.s.state.denied(p) {
				r.Privileges = append(r.Privileges, p)
			}
		}
		body.Res.Returnval = append(body.Res.Returnval, r)
	}
	return body
}
