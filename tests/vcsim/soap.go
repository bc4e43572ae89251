// soap.go - the HTTP front end: session checks, call counting, fault
// injection, SOAP logging, /folder authentication and the control endpoints.
package main

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
)

// faults are the switches; zero means off. *_count says how often (default 1).
type faults struct {
	NFCDropAfter    int64  `json:"nfc_drop_after,omitempty"` // cut the connection after N bytes
	NFCDropCount    int    `json:"nfc_drop_count,omitempty"`
	NFCTruncAfter   int64  `json:"nfc_truncate_after,omitempty"` // end the body early but cleanly
	NFCTruncCount   int    `json:"nfc_truncate_count,omitempty"`
	NFCStallAfter   int64  `json:"nfc_stall_after,omitempty"` // stop sending, keep the connection
	NFCStallCount   int    `json:"nfc_stall_count,omitempty"`
	NFCCorruptAt    int64  `json:"nfc_corrupt_at,omitempty"` // flip byte N; the manifest has the right sum
	NFCCorruptCount int    `json:"nfc_corrupt_count,omitempty"`
	NFCStatus       int    `json:"nfc_status,omitempty"` // answer with this HTTP status
	NFCStatusCount  int    `json:"nfc_status_count,omitempty"`
	NFCRate         int64  `json:"nfc_rate,omitempty"`  // bytes per second and connection
	NFCMatch        string `json:"nfc_match,omitempty"` // only for URLs containing this

	SessionAfter int `json:"session_expire_after,omitempty"` // NotAuthenticated after N calls of a session
	SessionCount int `json:"session_expire_count,omitempty"` // so many sessions
	SOAPStatus   int `json:"soap_status,omitempty"`          // answer SOAP posts with this status
	SOAPStatusN  int `json:"soap_status_count,omitempty"`
	SOAPDropN    int `json:"soap_drop_count,omitempty"` // close the connection without an answer
	SOAPDelayMS  int `json:"soap_delay_ms,omitempty"`
	RESTStatus   int `json:"rest_status,omitempty"` // answer calls of the REST API with this status
	RESTStatusN  int `json:"rest_status_count,omitempty"`

	ExportFault string `json:"export_fault,omitempty"`      // next ExportVm fails with this fault type
	LeaseFault  string `json:"lease_fault,omitempty"`       // next lease goes to state error
	TaskFault   string `json:"task_fault,omitempty"`        // "createSnapshot:ApplicationQuiesceFault"
	BadChecksum bool   `json:"bad_checksum,omitempty"`      // GetManifest returns wrong sums
	NoManifest  bool   `json:"no_manifest,omitempty"`       // GetManifest is not supported
	NoSHA256    string `json:"no_sha256,omitempty"`         // SetManifestChecksumType is "refused" or "ignored"
	FolderDrop  int64  `json:"folder_drop_after,omitempty"` // cut an answer of /folder after N bytes
	FolderDropN int    `json:"folder_drop_count,omitempty"`
	FolderWhole bool   `json:"folder_whole,omitempty"` // /folder ignores ranges
	FolderAuth  int    `json:"folder_status,omitempty"`

	Denied          []string `json:"denied,omitempty"`           // privileges that the login lacks
	NoAuthorization bool     `json:"no_authorization,omitempty"` // FetchUserPrivilegeOnEntities is not supported
}

type state struct {
	mu      sync.Mutex
	f       faults
	leases  []*lease
	calls   map[string]int // method -> count
	perSess map[string]int // cookie -> calls
	dead    map[string]bool
	logins  map[string]bool
	tickets map[string]bool
	notes   map[string]int
	nfc     []string
	bytes   int64
	seq     int
}

func newState(f *faults) *state {
	s := &state{calls: map[string]int{}, perSess: map[string]int{}, dead: map[string]bool{}, logins: map[string]bool{}, tickets: map[string]bool{}, notes: map[string]int{}}
	if f != nil {
		s.f = *f
	}
	s.defaults()
	return s
}

func (s *state) defaults() {
	f := &s.f
	one := func(on bool, n *int) {
		if on && *n == 0 {
			*n = 1
		}
	}
	one(f.NFCDropAfter > 0, &f.NFCDropCount)
	one(f.NFCTruncAfter > 0, &f.NFCTruncCount)
	one(f.NFCStallAfter > 0, &f.NFCStallCount)
	one(f.NFCCorruptAt > 0, &f.NFCCorruptCount)
	one(f.NFCStatus > 0, &f.NFCStatusCount)
	one(f.SessionAfter > 0, &f.SessionCount)
	one(f.SOAPStatus > 0, &f.SOAPStatusN)
	one(f.RESTStatus > 0, &f.RESTStatusN)
}

func (s *state) addLease(l *lease) { s.mu.Lock(); s.leases = append(s.leases, l); s.mu.Unlock() }
func (s *state) note(k string)     { s.mu.Lock(); s.notes[k]++; s.mu.Unlock() }
func (s *state) addBytes(n int64)  { s.mu.Lock(); s.bytes += n; s.mu.Unlock() }
func (s *state) nfcStart(r *http.Request) {
	s.mu.Lock()
	line := r.Method + " " + r.URL.Path
	if v := r.Header.Get("Range"); v != "" {
		line += " Range: " + v
	}
	s.nfc = append(s.nfc, line)
	s.mu.Unlock()
}

func (s *state) flag(f func(*faults) bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return f(&s.f)
}

func (s *state) leaseByToken(t string) *lease {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.leases {
		if l.token == t {
			return l
		}
	}
	return nil
}

// takeFault uses up one named fault of a kind ("export", "lease", "task").
func (s *state) takeFault(kind, name string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var p *string
	switch kind {
	case "export":
		p = &s.f.ExportFault
	case "lease":
		p = &s.f.LeaseFault
	default:
		p = &s.f.TaskFault
	}
	v := *p
	if kind == "task" {
		if !strings.HasPrefix(v, name+":") {
			return ""
		}
		v = v[len(name)+1:]
	}
	if v != "" {
		*p = ""
	}
	return v
}

func (s *state) takeStatus() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.f.NFCStatus == 0 || s.f.NFCStatusCount <= 0 {
		return 0
	}
	s.f.NFCStatusCount--
	return s.f.NFCStatus
}

type nfcFaults struct{ dropAt, truncAt, stallAt, corruptAt, rate int64 }

func (s *state) takeNFC(url string) nfcFaults {
	s.mu.Lock()
	defer s.mu.Unlock()
	var o nfcFaults
	f := &s.f
	if f.NFCMatch != "" && !strings.Contains(url, f.NFCMatch) {
		return o
	}
	take := func(v int64, n *int) int64 {
		if v == 0 || *n <= 0 {
			return 0
		}
		*n--
		return v
	}
	o.dropAt = take(f.NFCDropAfter, &f.NFCDropCount)
	o.truncAt = take(f.NFCTruncAfter, &f.NFCTruncCount)
	o.stallAt = take(f.NFCStallAfter, &f.NFCStallCount)
	o.corruptAt = take(f.NFCCorruptAt, &f.NFCCorruptCount)
	o.rate = f.NFCRate
	return o
}

// soapCall finds the method and the _this element of a request.
type soapCall struct {
	method, kind, value string
	from, to            int64 // byte range of the _this element
}

func parseCall(body []byte) soapCall {
	var c soapCall
	d := xml.NewDecoder(bytes.NewReader(body))
	depth, inBody := 0, false
	for {
		before := d.InputOffset()
		t, err := d.Token()
		if err != nil {
			return c
		}
		switch e := t.(type) {
		case xml.StartElement:
			depth++
			switch {
			case depth == 2:
				inBody = e.Name.Local == "Body"
			case depth == 3 && inBody:
				c.method = e.Name.Local
			case depth == 4 && inBody && e.Name.Local == "_this":
				for _, a := range e.Attr {
					if a.Name.Local == "type" && a.Name.Space == "" {
						c.kind = a.Value
					}
				}
				var v string
				if d.DecodeElement(&v, &e) != nil {
					return c
				}
				c.value, c.from, c.to = strings.TrimSpace(v), before, d.InputOffset()
				return c
			}
		case xml.EndElement:
			depth--
		}
	}
}

func (s *server) cookie(r *http.Request) string {
	c, err := r.Cookie("vmware_soap_session")
	if err != nil {
		return ""
	}
	return c.Value
}

// redirect points _this of an extra method at its stand-in object.
func (s *server) redirect(c soapCall, body []byte) []byte {
	ext := extMethods[c.kind][c.method]
	if ext == "" {
		return body
	}
	ref := types.ManagedObjectReference{Type: c.kind, Value: c.value}
	switch o := simulator.Map.Get(ref).(type) {
	case nil:
		return body // ManagedObjectNotFound
	case *simulator.VirtualMachine:
		if o.Config == nil && c.method != "ExportVm" {
			return body
		}
	}
	self := types.ManagedObjectReference{Type: ext, Value: c.value}
	if simulator.Map.Get(self) == nil {
		e := &vmExt{Self: self, s: s, ref: ref}
		switch ext {
		case extVM:
			simulator.Map.Put(e)
		case extSnap:
			simulator.Map.Put(&snapExt{e})
		case extOvf:
			simulator.Map.Put(&ovfExt{e})
		case extAuth:
			simulator.Map.Put(&authExt{e})
		}
	}
	var out bytes.Buffer
	out.Write(body[:c.from])
	fmt.Fprintf(&out, `<_this type="%s">`, ext)
	xml.EscapeText(&out, []byte(c.value))
	out.WriteString("</_this>")
	out.Write(body[c.to:])
	return out.Bytes()
}

const notAuthenticated = `<?xml version="1.0" encoding="UTF-8"?>
<soapenv:Envelope xmlns:soapenc="http://schemas.xmlsoap.org/soap/encoding/"
 xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/"
 xmlns:xsd="http://www.w3.org/2001/XMLSchema"
 xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">
<soapenv:Body>
<soapenv:Fault><faultcode>ServerFaultCode</faultcode><faultstring>The session is not authenticated.</faultstring><detail><NotAuthenticatedFault xmlns="urn:vim25" xsi:type="NotAuthenticated"><object type="%s">%s</object><privilegeId>System.View</privilegeId></NotAuthenticatedFault></detail></soapenv:Fault>
</soapenv:Body>
</soapenv:Envelope>
`

var ticketID = regexp.MustCompile(`<id>([^<]+)</id>`)

func (s *server) serveSDK(w http.ResponseWriter, r *http.Request, inner http.Handler) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	c := parseCall(body)
	st := s.state
	sess := s.cookie(r)
	st.mu.Lock()
	st.seq++
	seq := st.seq
	st.calls[c.method]++
	delay := st.f.SOAPDelayMS
	var status int
	if st.f.SOAPStatusN > 0 {
		st.f.SOAPStatusN--
		status = st.f.SOAPStatus
	}
	drop := false
	if st.f.SOAPDropN > 0 {
		st.f.SOAPDropN--
		drop = true
	}
	var cut []*lease
	if sess != "" && st.logins[sess] && !st.dead[sess] {
		st.perSess[sess]++
		if n := st.f.SessionAfter; n > 0 && st.perSess[sess] > n && st.f.SessionCount > 0 {
			st.f.SessionCount--
			st.dead[sess] = true
			log.Printf("session %s expired before call %d (%s)", sess, st.perSess[sess], c.method)
			for _, l := range st.leases {
				if l.session == sess {
					cut = append(cut, l)
				}
			}
		}
	}
	dead := st.dead[sess]
	st.mu.Unlock()
	for _, l := range cut {
		l.end() // objects of a session end with it
	}
	if delay > 0 {
		time.Sleep(time.Duration(delay) * time.Millisecond)
	}
	if drop {
		panic(http.ErrAbortHandler)
	}
	if status != 0 {
		w.WriteHeader(status)
		s.logSOAP(seq, c.method, r, body, status, http.Header{}, nil)
		return
	}
	if dead {
		r.Header.Del("Cookie")
		if s.opt.deadSession == "fault" && strings.HasPrefix(c.method, "RetrieveProperties") {
			out := []byte(fmt.Sprintf(notAuthenticated, xmlEscape(c.kind), xmlEscape(c.value)))
			w.Header().Set("Content-Type", "text/xml; charset=utf-8")
			w.WriteHeader(http.StatusInternalServerError)
			w.Write(out)
			s.logSOAP(seq, c.method, r, body, 500, w.Header(), out)
			return
		}
	}
	if out := s.refusal(c); out != "" && !dead {
		w.Header().Set("Content-Type", "text/xml; charset=utf-8")
		w.WriteHeader(http.StatusInternalServerError)
		w.Write([]byte(out))
		s.logSOAP(seq, c.method, r, body, 500, w.Header(), []byte(out))
		return
	}
	r2 := r.Clone(r.Context())
	sent := s.redirect(c, body)
	r2.Body = io.NopCloser(bytes.NewReader(sent))
	r2.ContentLength = int64(len(sent))
	rec := httptest.NewRecorder()
	inner.ServeHTTP(rec, r2)
	res := rec.Result()
	out := rec.Body.Bytes()
	if c.method == "Login" && res.StatusCode == 500 {
		out = bytes.Replace(out, []byte("<faultstring>Login failure</faultstring>"), []byte("<faultstring>Cannot complete login due to an incorrect user name or password.</faultstring>"), 1)
	}
	if bytes.Contains(out, []byte("<NotAuthenticatedFault ")) {
		out = bytes.Replace(out, []byte("<faultstring></faultstring>"), []byte("<faultstring>The session is not authenticated.</faultstring>"), 1)
	}
	if c.method == "AcquireGenericServiceTicket" {
		if m := ticketID.FindSubmatch(out); m != nil {
			st.mu.Lock()
			st.tickets[string(m[1])] = true
			st.mu.Unlock()
		}
	}
	h := w.Header()
	for _, ck := range res.Cookies() {
		if ck.Name == "vmware_soap_session" {
			st.mu.Lock()
			st.logins[ck.Value] = true
			st.mu.Unlock()
			// vCenter quotes the value; Go's parser accepts it with and without quotes
			h.Add("Set-Cookie", fmt.Sprintf("vmware_soap_session=\"%s\"; Path=/; HttpOnly; Secure; ", ck.Value))
		}
	}
	if c.method == "Logout" && res.StatusCode == 200 {
		st.mu.Lock()
		st.dead[sess] = true
		for _, l := range st.leases {
			if l.session == sess {
				cut = append(cut, l)
			}
		}
		st.notes["logout"]++
		st.mu.Unlock()
		for _, l := range cut {
			l.end()
		}
	}
	h.Set("Content-Type", "text/xml; charset=utf-8")
	h.Set("Cache-Control", "no-cache")
	w.WriteHeader(res.StatusCode)
	w.Write(out)
	s.logSOAP(seq, c.method, r, body, res.StatusCode, h, out)
}

func (s *server) logSOAP(seq int, method string, r *http.Request, req []byte, status int, h http.Header, res []byte) {
	if s.opt.soapLog == "" {
		return
	}
	dump := func(h http.Header) string {
		var b strings.Builder
		var keys []string
		for k := range h {
			keys = append(keys, k)
		}
		sort.Strings(keys)
		for _, k := range keys {
			for _, v := range h[k] {
				fmt.Fprintf(&b, "%s: %s\r\n", k, v)
			}
		}
		return b.String()
	}
	name := filepath.Join(s.opt.soapLog, fmt.Sprintf("%03d-%s", seq, method))
	os.WriteFile(name+".req", []byte(fmt.Sprintf("%s %s %s\r\nHost: %s\r\n%s\r\n%s", r.Method, r.URL.RequestURI(), r.Proto, r.Host, dump(r.Header), req)), 0o644)
	os.WriteFile(name+".res", []byte(fmt.Sprintf("HTTP/1.1 %d %s\r\n%s\r\n%s", status, http.StatusText(status), dump(h), res)), 0o644)
}

// folderOK checks Basic authentication, the SOAP session or a CGI ticket, one
// of which /folder needs on a real server (vcsim asks for none).
func (s *server) folderOK(r *http.Request) bool {
	if u, p, ok := r.BasicAuth(); ok {
		return u == s.opt.user && p == s.opt.password
	}
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	if c := s.cookie(r); c != "" && s.state.logins[c] && !s.state.dead[c] {
		return true
	}
	if c, err := r.Cookie("vmware_cgi_ticket"); err == nil && s.state.tickets[c.Value] {
		return true
	}
	return false
}

// cutWriter cuts the connection after so many bytes.
type cutWriter struct {
	http.ResponseWriter
	left int64
}

func (w *cutWriter) Write(p []byte) (int, error) {
	if int64(len(p)) < w.left {
		w.left -= int64(len(p))
		return w.ResponseWriter.Write(p)
	}
	w.ResponseWriter.Write(p[:w.left])
	w.ResponseWriter.(http.Flusher).Flush()
	panic(http.ErrAbortHandler)
}

func (s *server) handler(inner http.Handler, sdk, nfc bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p := r.URL.Path
		switch {
		case nfc && (strings.HasPrefix(p, "/nfc/") || strings.HasPrefix(p, "/ha-nfc/")):
			s.serveNFC(w, r)
		case !sdk:
			http.NotFound(w, r)
		case r.Method == http.MethodPost && (p == "/sdk" || p == "/sdk/" || p == "/sdk/vimService"):
			r.URL.Path = "/sdk"
			s.serveSDK(w, r, inner)
		case strings.HasPrefix(p, "/nfc/"):
			http.NotFound(w, r)
		case strings.HasPrefix(p, "/folder"):
			if !s.folderOK(r) {
				w.Header().Set("WWW-Authenticate", `Basic realm="VMware HTTP server"`)
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			if n := s.state.f.FolderAuth; n != 0 {
				w.WriteHeader(n)
				return
			}
			s.state.note("folder." + r.Method)
			// vCenter decodes dcPath and dsName once more (libvirt and virt-v2v encode them twice)
			q, twice := r.URL.Query(), false
			for _, k := range []string{"dcPath", "dsName"} {
				if v, err := url.QueryUnescape(strings.ReplaceAll(q.Get(k), "+", "%2B")); err == nil && v != q.Get(k) {
					q.Set(k, v)
					twice = true
				}
			}
			if twice {
				r.URL.RawQuery = q.Encode()
			}
			s.state.mu.Lock()
			if s.state.f.FolderWhole {
				r.Header.Del("Range")
			}
			if strings.HasSuffix(p, "-flat.vmdk") && s.state.f.FolderDropN > 0 {
				s.state.f.FolderDropN--
				w = &cutWriter{w, s.state.f.FolderDrop}
			}
			s.state.mu.Unlock()
			inner.ServeHTTP(w, r)
		case strings.HasPrefix(p, "/_vcsimx/"):
			s.control(w, r)
		case strings.HasPrefix(p, "/rest/"):
			if n := s.restStatus(r); n != http.StatusOK {
				w.WriteHeader(n)
				return
			}
			inner.ServeHTTP(w, r)
		default:
			inner.ServeHTTP(w, r)
		}
	})
}

// control: GET /_vcsimx/state, POST /_vcsimx/faults (JSON, replaces all),
// POST /_vcsimx/reset, POST /_vcsimx/expire (all sessions),
// POST /_vcsimx/power?vm=NAME&state=on|off.
func (s *server) control(w http.ResponseWriter, r *http.Request) {
	st := s.state
	op := strings.TrimPrefix(r.URL.Path, "/_vcsimx/")
	switch {
	case op == "state" && r.Method == http.MethodGet:
	case op == "faults" && r.Method == http.MethodPost:
		var f faults
		d := json.NewDecoder(r.Body)
		d.DisallowUnknownFields()
		if err := d.Decode(&f); err != nil && err != io.EOF {
			http.Error(w, err.Error(), 400)
			return
		}
		st.mu.Lock()
		st.f = f
		st.defaults()
		st.mu.Unlock()
	case op == "reset" && r.Method == http.MethodPost:
		st.mu.Lock()
		st.f = faults{}
		st.calls, st.notes, st.nfc, st.bytes = map[string]int{}, map[string]int{}, nil, 0
		st.mu.Unlock()
	case op == "expire" && r.Method == http.MethodPost:
		st.mu.Lock()
		var cut []*lease
		for k := range st.logins {
			st.dead[k] = true
		}
		cut = append(cut, st.leases...)
		st.mu.Unlock()
		for _, l := range cut {
			l.end()
		}
	case op == "power" && r.Method == http.MethodPost:
		for _, ref := range s.names {
			vm := simulator.Map.Get(ref).(*simulator.VirtualMachine)
			if vm.Name != r.URL.Query().Get("vm") {
				continue
			}
			p := types.VirtualMachinePowerStatePoweredOff
			if r.URL.Query().Get("state") == "on" {
				p = types.VirtualMachinePowerStatePoweredOn
			}
			simulator.Map.Update(vm, []types.PropertyChange{{Name: "runtime.powerState", Val: p}, {Name: "summary.runtime.powerState", Val: p}})
			touch(vm)
			setBootTime(vm)
		}
	default:
		http.NotFound(w, r)
		return
	}
	type li struct {
		Ref, VM, State, Session string
		Progress, Posts         int
		Live                    bool
	}
	var leases []li
	st.mu.Lock()
	all := append([]*lease(nil), st.leases...)
	st.mu.Unlock()
	for _, l := range all {
		simulator.Map.WithLock(l, func() { // not inside st.mu: calls take the locks in the other order
			l.mu.Lock()
			leases = append(leases, li{l.Self.Value, l.entity.Value, string(l.State), l.session, int(l.TransferProgress), l.posts, l.live()})
			l.mu.Unlock()
		})
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	live := 0
	for k := range st.logins {
		if !st.dead[k] {
			live++
		}
	}
	snapshots := []string{}
	var walk func(list []types.VirtualMachineSnapshotTree)
	walk = func(list []types.VirtualMachineSnapshotTree) {
		for _, t := range list {
			snapshots = append(snapshots, t.Name)
			walk(t.ChildSnapshotList)
		}
	}
	vms := []map[string]interface{}{}
	for _, ref := range s.names {
		vm, ok := simulator.Map.Get(ref).(*simulator.VirtualMachine)
		if !ok {
			continue
		}
		if vm.Snapshot != nil {
			walk(vm.Snapshot.RootSnapshotList)
		}
		vms = append(vms, aboutVM(vm))
	}
	w.Header().Set("Content-Type", "application/json")
	e := json.NewEncoder(w)
	e.SetIndent("", " ")
	e.Encode(map[string]interface{}{"vms": vms, "snapshots": snapshots, "calls": st.calls, "notes": st.notes, "nfc": st.nfc, "nfc_bytes": st.bytes,
		"leases": leases, "logins": len(st.logins), "live_sessions": live, "faults": st.f})
}

// aboutVM is what a client may have changed of a VM.
func aboutVM(vm *simulator.VirtualMachine) map[string]interface{} {
	about := map[string]interface{}{"name": vm.Name, "power": string(vm.Runtime.PowerState), "folder": ""}
	if vm.Parent != nil {
		if f, ok := simulator.Map.Get(*vm.Parent).(*simulator.Folder); ok {
			about["folder"] = f.Name
		}
	}
	if vm.Config == nil {
		return about
	}
	about["annotation"] = vm.Config.Annotation
	connect := []bool{}
	for _, d := range vm.Config.Hardware.Device {
		if card, ok := d.(types.BaseVirtualEthernetCard); ok {
			c := card.GetVirtualEthernetCard().Connectable
			connect = append(connect, c != nil && c.StartConnected)
		}
	}
	about["start_connected"] = connect
	return about
}
