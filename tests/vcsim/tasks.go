// tasks.go - stand-ins for the methods that govmomi 0.24.2's simulator lacks or
// answers too simply: tasks that take time, power, snapshots with delta disks,
// QueryChangedDiskAreas.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// The simulator finds a method by reflection on the object registered for
// _this. Replacing a registered simulator.VirtualMachine by a wrapper type
// (as in example_extend_test.go) breaks it: other simulator code asserts
// Map.Get(ref).(*VirtualMachine), and the property collector panics on a
// struct whose first field is a pointer. So the front end (soap.go) points
// _this of the extra methods at one of these stand-ins instead.
const (
	extVM   = "VcsimxVirtualMachine"
	extSnap = "VcsimxSnapshot"
	extOvf  = "VcsimxOvfManager"
)

// extMethods says which methods of which managed object type go to a stand-in.
var extMethods = map[string]map[string]string{
	"VirtualMachine": {
		"ExportVm": extVM, "QueryChangedDiskAreas": extVM, "PowerOffVM_Task": extVM, "PowerOnVM_Task": extVM,
		"CreateSnapshot_Task": extVM, "RemoveAllSnapshots_Task": extVM, "ReconfigVM_Task": extVM, "ShutdownGuest": extVM,
	},
	"VirtualMachineSnapshot": {"ExportSnapshot": extSnap, "RemoveSnapshot_Task": extSnap},
	"OvfManager":             {"CreateDescriptor": extOvf},
	"AuthorizationManager":   {"FetchUserPrivilegeOnEntities": extAuth},
}

type vmExt struct {
	Self types.ManagedObjectReference
	s    *server
	ref  types.ManagedObjectReference
}

func (e *vmExt) Reference() types.ManagedObjectReference { return e.Self }
func (e *vmExt) Lock()                                   {} // no serialising of calls on one VM
func (e *vmExt) Unlock()                                 {}

type snapExt struct{ *vmExt }
type ovfExt struct{ *vmExt }

func (e *vmExt) vm() *simulator.VirtualMachine {
	return simulator.Map.Get(e.ref).(*simulator.VirtualMachine)
}

// async runs a simulator call that returns an already finished task as a task
// that is queued, then running, then done after -task-delay.
func (s *server) async(on mo.Reference, name string, lock bool, run func() (types.AnyType, types.BaseMethodFault)) types.ManagedObjectReference {
	t := simulator.CreateTask(on, name, nil)
	t.Info.Name = taskMethod[name] // the simulator says "PowerOff", vCenter the method's wire name
	if vm, ok := on.(*simulator.VirtualMachine); ok { // the simulator alone keeps no list of an object's tasks
		simulator.Map.WithLock(vm, func() {
			simulator.Map.Update(vm, []types.PropertyChange{{Name: "recentTask", Val: append(vm.RecentTask, t.Self)}})
		})
	}
	update := func(c ...types.PropertyChange) {
		simulator.Map.WithLock(t, func() { simulator.Map.Update(t, c) })
	}
	work := func() {
		update(types.PropertyChange{Name: "info.startTime", Val: time.Now()}, types.PropertyChange{Name: "info.state", Val: types.TaskInfoStateRunning})
		for i := int32(1); i < 4 && s.opt.taskDelay > 0; i++ {
			time.Sleep(s.opt.taskDelay / 3)
			update(types.PropertyChange{Name: "info.progress", Val: 25 * i})
		}
		var res types.AnyType
		var fault types.BaseMethodFault
		text := ""
		if f := s.state.takeFault("task", name); f != "" {
			fault, text = namedFault(f, on.Reference()), faultText[f]
		} else if lock {
			simulator.Map.WithLock(on, func() { res, fault = run() })
		} else {
			res, fault = run()
		}
		state := types.TaskInfoStateSuccess
		var e interface{}
		if fault != nil {
			state = types.TaskInfoStateError
			if p, ok := fault.(*types.InvalidPowerState); ok {
				text = fmt.Sprintf("The attempted operation cannot be performed in the current state (%s).", powerText[p.ExistingState])
			}
			e = types.LocalizedMethodFault{Fault: fault, LocalizedMessage: text}
		}
		update(types.PropertyChange{Name: "info.completeTime", Val: time.Now()}, types.PropertyChange{Name: "info.result", Val: res},
			types.PropertyChange{Name: "info.error", Val: e}, types.PropertyChange{Name: "info.state", Val: state})
	}
	if s.opt.taskDelay == 0 {
		work()
	} else {
		go work()
	}
	return t.Self
}

var powerText = map[types.VirtualMachinePowerState]string{"poweredOn": "Powered on", "poweredOff": "Powered off", "suspended": "Suspended"}

var taskMethod = map[string]string{"powerOff": "PowerOffVM_Task", "powerOn": "PowerOnVM_Task", "createSnapshot": "CreateSnapshot_Task",
	"removeAllSnapshots": "RemoveAllSnapshots_Task", "removeSnapshot": "RemoveSnapshot_Task", "reconfigVm": "ReconfigVM_Task"}

func taskResult(ref types.ManagedObjectReference) (types.AnyType, types.BaseMethodFault) {
	t := simulator.Map.Get(ref).(*simulator.Task)
	if t.Info.Error != nil {
		return nil, t.Info.Error.Fault
	}
	return t.Info.Result, nil
}

func bodyFault(b soap.HasFault) types.BaseMethodFault {
	if f := b.Fault(); f != nil {
		if m, ok := f.VimFault().(types.BaseMethodFault); ok {
			return m
		}
		return &types.RuntimeFault{}
	}
	return nil
}

// leaseOf says whether an active lease covers the VM; vSphere then blocks
// power-on, destroy, migrate and a second export.
func (s *server) leaseOf(ref types.ManagedObjectReference) *lease {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	for _, l := range s.state.leases {
		if l.entity == ref && l.live() {
			return l
		}
	}
	return nil
}

func (e *vmExt) PowerOffVMTask(ctx *simulator.Context, req *types.PowerOffVM_Task) soap.HasFault {
	vm := e.vm()
	r := *req
	r.This = e.ref
	return &methods.PowerOffVM_TaskBody{Res: &types.PowerOffVM_TaskResponse{Returnval: e.s.async(vm, "powerOff", true, func() (types.AnyType, types.BaseMethodFault) {
		b := vm.PowerOffVMTask(ctx, &r).(*methods.PowerOffVM_TaskBody)
		setBootTime(vm)
		return taskResult(b.Res.Returnval)
	})}}
}

func (e *vmExt) PowerOnVMTask(ctx *simulator.Context, req *types.PowerOnVM_Task) soap.HasFault {
	vm := e.vm()
	r := *req
	r.This = e.ref
	return &methods.PowerOnVM_TaskBody{Res: &types.PowerOnVM_TaskResponse{Returnval: e.s.async(vm, "powerOn", true, func() (types.AnyType, types.BaseMethodFault) {
		if e.s.leaseOf(e.ref) != nil {
			return nil, &types.TaskInProgress{Task: types.ManagedObjectReference{Type: "Task", Value: "task-0"}}
		}
		b := vm.PowerOnVMTask(ctx, &r).(*methods.PowerOnVM_TaskBody)
		if f := bodyFault(b); f != nil {
			return nil, f
		}
		touch(vm)
		setBootTime(vm)
		return taskResult(b.Res.Returnval)
	})}}
}

// ShutdownGuest needs VMware Tools and returns before the guest is down.
func (e *vmExt) ShutdownGuest(ctx *simulator.Context, req *types.ShutdownGuest) soap.HasFault {
	vm := e.vm()
	body := &methods.ShutdownGuestBody{}
	if vm.Runtime.PowerState != types.VirtualMachinePowerStatePoweredOn {
		body.Fault_ = simulator.Fault("The attempted operation cannot be performed in the current state (Powered off).", &types.InvalidPowerState{
			RequestedState: types.VirtualMachinePowerStatePoweredOn, ExistingState: vm.Runtime.PowerState})
		return body
	}
	if vm.Guest.ToolsRunningStatus != "guestToolsRunning" {
		body.Fault_ = simulator.Fault("Cannot complete operation because VMware Tools is not running in this virtual machine.", &types.ToolsUnavailable{})
		return body
	}
	r := *req
	r.This = e.ref
	go func() {
		time.Sleep(e.s.opt.taskDelay)
		simulator.Map.WithLock(vm, func() {
			vm.ShutdownGuest(ctx, &r)
			setBootTime(vm)
		})
	}()
	body.Res = &types.ShutdownGuestResponse{}
	return body
}

func (e *vmExt) ReconfigVMTask(ctx *simulator.Context, req *types.ReconfigVM_Task) soap.HasFault {
	vm := e.vm()
	r := *req
	r.This = e.ref
	return &methods.ReconfigVM_TaskBody{Res: &types.ReconfigVM_TaskResponse{Returnval: e.s.async(vm, "reconfigVm", true, func() (types.AnyType, types.BaseMethodFault) {
		b := vm.ReconfigVMTask(ctx, &r).(*methods.ReconfigVM_TaskBody)
		touch(vm)
		res, f := taskResult(b.Res.Returnval)
		if f == nil && req.Spec.ChangeTrackingEnabled != nil && *req.Spec.ChangeTrackingEnabled {
			e.s.setChangeIDs(vm)
		}
		return res, f
	})}}
}

// touch notes a change of the VM's configuration, as every reconfiguration
// is one, and every start.
func touch(vm *simulator.VirtualMachine) {
	if vm.Config != nil {
		simulator.Map.Update(vm, []types.PropertyChange{{Name: "config.changeVersion", Val: time.Now().UTC().Format(time.RFC3339Nano)}})
	}
}

// setBootTime does what a host does to runtime.bootTime: it is that of the last
// start, and a VM that is off has none. The simulator alone never sets it.
func setBootTime(vm *simulator.VirtualMachine) {
	if vm.Runtime.PowerState != types.VirtualMachinePowerStatePoweredOn {
		vm.Runtime.BootTime, vm.Summary.Runtime.BootTime = nil, nil
		return
	}
	now := time.Now().UTC()
	vm.Runtime.BootTime, vm.Summary.Runtime.BootTime = &now, &now
}

func (s *server) setChangeIDs(vm *simulator.VirtualMachine) {
	st := s.vms[vm.Self]
	if st == nil {
		return
	}
	for _, d := range vm.Config.Hardware.Device {
		if disk, ok := d.(*types.VirtualDisk); ok {
			if b, ok := disk.Backing.(*types.VirtualDiskFlatVer2BackingInfo); ok {
				b.ChangeId = changeID(st.gen)
			}
		}
	}
}

// CreateSnapshot also moves the VM to delta disks, as a host does; the
// simulator alone leaves the backing as it was.
func (e *vmExt) CreateSnapshotTask(ctx *simulator.Context, req *types.CreateSnapshot_Task) soap.HasFault {
	vm := e.vm()
	r := *req
	r.This = e.ref
	return &methods.CreateSnapshot_TaskBody{Res: &types.CreateSnapshot_TaskResponse{Returnval: e.s.async(vm, "createSnapshot", true, func() (types.AnyType, types.BaseMethodFault) {
		b := vm.CreateSnapshotTask(&r).(*methods.CreateSnapshot_TaskBody)
		res, f := taskResult(b.Res.Returnval)
		if f == nil {
			e.s.addDeltas(vm)
		}
		return res, f
	})}}
}

func (s *server) addDeltas(vm *simulator.VirtualMachine) {
	st := s.vms[vm.Self]
	if st != nil {
		st.gen++
	}
	cbt := vm.Config.ChangeTrackingEnabled != nil && *vm.Config.ChangeTrackingEnabled
	var devs []types.BaseVirtualDevice
	for _, d := range vm.Config.Hardware.Device {
		disk, ok := d.(*types.VirtualDisk)
		if !ok {
			devs = append(devs, d)
			continue
		}
		b, ok := disk.Backing.(*types.VirtualDiskFlatVer2BackingInfo)
		if !ok || strings.HasPrefix(b.DiskMode, "independent") {
			devs = append(devs, d)
			continue
		}
		c, nb := *disk, *b
		parent := *b
		nb.Parent = &parent
		root := b
		for root.Parent != nil {
			root = root.Parent
		}
		stem := strings.TrimSuffix(root.FileName, ".vmdk")
		for i := 1; ; i++ {
			nb.FileName = fmt.Sprintf("%s-%06d.vmdk", stem, i)
			var p object.DatastorePath
			p.FromString(nb.FileName)
			file := filepath.Join(s.dsDir, p.Path)
			if _, err := os.Stat(file); err != nil {
				os.WriteFile(file, []byte("# Disk DescriptorFile\nversion=1\ncreateType=\"vmfsSparse\"\n"), 0o644)
				break
			}
		}
		if cbt && st != nil {
			nb.ChangeId = changeID(st.gen)
		}
		c.Backing = &nb
		devs = append(devs, &c)
	}
	simulator.Map.Update(vm, []types.PropertyChange{{Name: "config.hardware.device", Val: devs}})
}

func (s *server) dropDeltas(vm *simulator.VirtualMachine) {
	if vm.Snapshot != nil && len(vm.Snapshot.RootSnapshotList) > 0 {
		return
	}
	var devs []types.BaseVirtualDevice
	for _, d := range vm.Config.Hardware.Device {
		if disk, ok := d.(*types.VirtualDisk); ok {
			if b, ok := disk.Backing.(*types.VirtualDiskFlatVer2BackingInfo); ok && b.Parent != nil {
				id := b.ChangeId
				for b.Parent != nil {
					var p object.DatastorePath
					p.FromString(b.FileName)
					os.Remove(filepath.Join(s.dsDir, p.Path))
					b = b.Parent
				}
				c, nb := *disk, *b
				nb.ChangeId = id
				c.Backing = &nb
				d = &c
			}
		}
		devs = append(devs, d)
	}
	simulator.Map.Update(vm, []types.PropertyChange{{Name: "config.hardware.device", Val: devs}})
}

func (e *vmExt) RemoveAllSnapshotsTask(ctx *simulator.Context, req *types.RemoveAllSnapshots_Task) soap.HasFault {
	vm := e.vm()
	r := *req
	r.This = e.ref
	return &methods.RemoveAllSnapshots_TaskBody{Res: &types.RemoveAllSnapshots_TaskResponse{Returnval: e.s.async(vm, "removeAllSnapshots", true, func() (types.AnyType, types.BaseMethodFault) {
		b := vm.RemoveAllSnapshotsTask(ctx, &r).(*methods.RemoveAllSnapshots_TaskBody)
		res, f := taskResult(b.Res.Returnval)
		if f == nil {
			e.s.dropDeltas(vm)
		}
		return res, f
	})}}
}

func (e *snapExt) RemoveSnapshotTask(ctx *simulator.Context, req *types.RemoveSnapshot_Task) soap.HasFault {
	snap := simulator.Map.Get(e.ref).(*simulator.VirtualMachineSnapshot)
	vm := simulator.Map.Get(snap.Vm).(*simulator.VirtualMachine)
	r := *req
	r.This = e.ref
	// without the VM's lock: the simulator's method takes it
	return &methods.RemoveSnapshot_TaskBody{Res: &types.RemoveSnapshot_TaskResponse{Returnval: e.s.async(vm, "removeSnapshot", false, func() (types.AnyType, types.BaseMethodFault) {
		b := snap.RemoveSnapshotTask(ctx, &r).(*methods.RemoveSnapshot_TaskBody)
		res, f := taskResult(b.Res.Returnval)
		if f == nil {
			simulator.Map.WithLock(vm, func() { e.s.dropDeltas(vm) })
		}
		return res, f
	})}}
}

func (e *vmExt) QueryChangedDiskAreas(ctx *simulator.Context, req *types.QueryChangedDiskAreas) soap.HasFault {
	body := &methods.QueryChangedDiskAreasBody{}
	vm := e.vm()
	st := e.s.vms[e.ref]
	if vm.Config.ChangeTrackingEnabled == nil || !*vm.Config.ChangeTrackingEnabled {
		body.Fault_ = simulator.Fault("Error caused by file", &types.FileFault{File: "[" + e.s.dsName + "]"})
		return body
	}
	var d *diskState
	if st != nil {
		d = st.disks[req.DeviceKey]
	}
	if d == nil {
		body.Fault_ = simulator.Fault("A specified parameter was not correct: deviceKey", &types.InvalidArgument{InvalidProperty: "deviceKey"})
		return body
	}
	base := ""
	if req.ChangeId != "*" {
		gen := 0
		fmt.Sscanf(req.ChangeId[strings.LastIndex(req.ChangeId, "/")+1:], "%d", &gen)
		if !strings.HasPrefix(req.ChangeId, "52 de c0 d9") || gen < 1 || gen > st.gen {
			body.Fault_ = simulator.Fault("A specified parameter was not correct: changeId", &types.InvalidArgument{InvalidProperty: "changeId"})
			return body
		}
		base = d.base
		if base == "" {
			base = d.data.raw // nothing has changed
		}
	}
	areas, err := changedAreas(d.data.raw, base)
	if err != nil {
		body.Fault_ = simulator.Fault(err.Error(), &types.FileFault{File: d.data.raw})
		return body
	}
	info := types.DiskChangeInfo{StartOffset: req.StartOffset, Length: d.data.capacity - req.StartOffset}
	for _, a := range areas {
		end := a[0] + a[1]
		if end <= req.StartOffset {
			continue
		}
		if a[0] < req.StartOffset {
			a[0] = req.StartOffset
		}
		// vSphere returns at most some 2000 areas a call; length then tells how far it looked
		if len(info.ChangedArea) == e.s.opt.maxAreas {
			info.Length = a[0] - req.StartOffset
			break
		}
		info.ChangedArea = append(info.ChangedArea, types.DiskChangeExtent{Start: a[0], Length: end - a[0]})
	}
	body.Res = &types.QueryChangedDiskAreasResponse{Returnval: info}
	return body
}
