/*
vcsimx - a vCenter/ESXi test server for an export client.

It is a thin program over govmomi's simulator package (Debian 12's
golang-github-vmware-govmomi-dev 0.24.2), which it uses as a library. It adds
what that simulator lacks: ExportVm / ExportSnapshot leases that serve real
disk content, QueryChangedDiskAreas, OVF descriptors, paging, tasks that take
time, delta disks after a snapshot, authentication of /folder, and faults.

Build (apt-get install golang-go golang-github-vmware-govmomi-dev):

	GO111MODULE=off GOPATH=/usr/share/gocode go build -o vcsimx .

Run:

	./vcsimx -listen 127.0.0.1:8989 -user u@vsphere.local -password p \
	    -vm 'name=web01,disk=/a.vmdk,disk=/b.raw,cpu=2,mem=2048,firmware=efi,guest=ubuntu64Guest,nic=00:50:56:aa:bb:01@VM Network,power=on'

It prints one line of JSON on standard output when ready (url, thumbprints,
VM references and disks) and logs on standard error; SIGINT/SIGTERM end it.

Server

	-listen ADDR       SDK, /folder and /nfc; port 0 picks one (127.0.0.1:8989)
	-nfc-listen ADDR   a second listener with its own certificate for /nfc only,
	                   playing the ESXi host that vCenter's lease URLs name
	-user, -password   the only login accepted (administrator@vsphere.local / vmware)
	-cert, -key FILE   PEM; default: a fresh self-signed ECDSA certificate
	-cert-out FILE     write the SDK certificate (PEM) for a client to trust
	-nfc-cert-out FILE the same for -nfc-listen
	-nfc-thumbprint T  what leases say of the NFC certificate instead of the truth
	-exit-with-stdin   end when standard input does, as when the test that started it dies
	-soap-log DIR      every SOAP call as NNN-Method.req / .res, headers included

Inventory

	-esx               a standalone host: ha-datacenter, lease URLs with host "*" and path /ha-nfc
	-api-version V     about.apiVersion (8.0.3.0)
	-dc, -cluster, -datastore NAME   rename DC0, DC0_C0, LocalDS_0
	-vm SPEC           a VM, may be repeated; keys: name disk blank(MiB) cpu cores mem
	                   firmware secureboot guest guestname nic(MAC@network) power
	                   folder(a/b) template vtpm encrypted cbt nvram iso tools ip
	                   snapshot annotation exportfault count(copies NAME-0001...)
	-config FILE       JSON {"vms":[...],"faults":{...}}: everything of vmSpec, diskSpec,
	                   nicSpec (inventory.go) and faults (soap.go); for names with commas
	A disk file may be a streamOptimized VMDK (served as it is; its raw form is made
	for /folder) or a raw image (its stream is made). /folder/<dir>/<vm>-flat.vmdk
	is the raw content, <vm>.vmdk its descriptor; Range works there.

Behaviour

	-page N            at most N objects per RetrievePropertiesEx reply, then a token, whatever
	                   maxObjects says (100, which users report of vCenter; 0: no limit)
	-task-delay D      how long tasks run (0: finished when the call returns)
	-lease-delay D     how long a lease stays "initializing" (300ms)
	-lease-timeout S   leaseTimeout in seconds, enforced (300)
	-dead-session HOW  what RetrieveProperties* answers without a session: missing (an
	                   ObjectContent with NotAuthenticated in missingSet, the simulator's
	                   way) or fault; every other method answers with the fault anyway
	-many-leases       allow a second lease on a VM (default: fault TaskInProgress, the
	                   documented fault for a busy VM)
	-nfc-host HOST     host part of lease URLs; default the listener, "*" with -esx
	-nfc-length MODE   unknown (chunked, as a host does), known (Content-Length), close
	-nfc-range         honour Range on /nfc (default: ignored; no document says a host does)
	-max-areas N       QueryChangedDiskAreas extents per call (2000)

Faults: -fault KEY=VALUE, may be repeated (names as in struct faults, soap.go)

	nfc_drop_after=N nfc_drop_count=M   cut the connection after N bytes, M times (1)
	nfc_truncate_after=N  end the body early but cleanly   nfc_stall_after=N  hang
	nfc_corrupt_at=N  flip byte N   nfc_status=503   nfc_rate=BYTES/S   nfc_match=disk-1
	session_expire_after=N session_expire_count=M  a session dies after N calls
	soap_status=503 soap_status_count=M  soap_drop_count=M  soap_delay_ms=N
	rest_status=503 rest_status_count=M
	export_fault=TYPE lease_fault=TYPE task_fault=createSnapshot:TYPE
	bad_checksum=true  no_manifest=true  folder_status=503
	denied=["VApp.Export"]  privileges that the login lacks   no_authorization=true

Assumptions, where nothing public says what a server does: the fault of a timed-out
lease (Timedout), leases ending with their session, ExportVm of a suspended VM
(InvalidPowerState), independent and RDM disks left out of a lease, 2000 areas a call.

Control while it runs (no authentication, same TLS port)

	GET  /_vcsimx/state     calls per method, NFC requests and bytes, leases, sessions
	POST /_vcsimx/faults    JSON body replaces all faults
	POST /_vcsimx/reset     clear faults and counters
	POST /_vcsimx/expire    end all sessions and their leases
	POST /_vcsimx/power?vm=NAME&state=on|off
*/
package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"flag"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
)

type options struct {
	listen, nfcListen, user, password, cert, key, certOut, nfcCertOut string
	soapLog, apiVersion, dc, cluster, datastore, config               string
	nfcHost, nfcLength, nfcPath, nfcThumbprint                        string
	deadSession                                                       string
	esx, manyLeases, nfcRange, exitWithStdin                          bool
	leaseTimeout, maxAreas                                            int
	taskDelay, leaseDelay                                             time.Duration
}

type list []string

func (l *list) String() string     { return strings.Join(*l, " ") }
func (l *list) Set(s string) error { *l = append(*l, s); return nil }

func selfSigned(cn string) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	n, _ := rand.Int(rand.Reader, big.NewInt(1<<62))
	t := &x509.Certificate{SerialNumber: n, Subject: pkix.Name{CommonName: cn, Organization: []string{"vcsimx"}},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(10 * 365 * 24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true, IsCA: true,
		DNSNames: []string{"localhost", cn}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}}
	der, err := x509.CreateCertificate(rand.Reader, t, t, &key.PublicKey, key)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}

func thumb(b []byte) string {
	p := make([]string, len(b))
	for i, c := range b {
		p[i] = fmt.Sprintf("%02X", c)
	}
	return strings.Join(p, ":")
}

func thumbs(c tls.Certificate) (string, string) {
	a, b := sha1.Sum(c.Certificate[0]), sha256.Sum256(c.Certificate[0])
	return thumb(a[:]), thumb(b[:])
}

func writePEM(name string, c tls.Certificate) error {
	if name == "" {
		return nil
	}
	return os.WriteFile(name, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate[0]}), 0o644)
}

func serve(addr string, c tls.Certificate, h http.Handler) (net.Listener, *http.Server, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, nil, err
	}
	srv := &http.Server{Handler: h, TLSConfig: &tls.Config{Certificates: []tls.Certificate{c}, NextProtos: []string{"http/1.1"}},
		TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){}, // HTTP/1.1 only, as vCenter
		ErrorLog:     log.New(io.Discard, "", 0)}
	go srv.ServeTLS(l, "", "")
	return l, srv, nil
}

func run() error {
	var o options
	var vms, fl list
	flag.StringVar(&o.listen, "listen", "127.0.0.1:8989", "address for SDK, /folder and /nfc")
	flag.StringVar(&o.nfcListen, "nfc-listen", "", "separate address for /nfc, with its own certificate")
	flag.StringVar(&o.user, "user", "administrator@vsphere.local", "login name")
	flag.StringVar(&o.password, "password", "vmware", "password")
	flag.StringVar(&o.cert, "cert", "", "certificate PEM")
	flag.StringVar(&o.key, "key", "", "key PEM")
	flag.StringVar(&o.certOut, "cert-out", "", "write the SDK certificate here")
	flag.StringVar(&o.nfcCertOut, "nfc-cert-out", "", "write the NFC certificate here")
	flag.StringVar(&o.soapLog, "soap-log", "", "directory for SOAP traffic")
	flag.BoolVar(&o.esx, "esx", false, "play a standalone ESXi host")
	flag.StringVar(&o.apiVersion, "api-version", "8.0.3.0", "about.apiVersion")
	flag.StringVar(&o.dc, "dc", "", "datacenter name")
	flag.StringVar(&o.cluster, "cluster", "", "cluster name")
	flag.StringVar(&o.datastore, "datastore", "", "datastore name")
	flag.Var(&vms, "vm", "VM spec (repeat)")
	flag.StringVar(&o.config, "config", "", "JSON inventory")
	page := flag.Int("page", 100, "objects per reply")
	flag.DurationVar(&o.taskDelay, "task-delay", 0, "duration of tasks")
	flag.DurationVar(&o.leaseDelay, "lease-delay", 300*time.Millisecond, "time a lease is initializing")
	flag.IntVar(&o.leaseTimeout, "lease-timeout", 300, "lease timeout in seconds")
	flag.StringVar(&o.deadSession, "dead-session", "missing", "missing or fault")
	flag.BoolVar(&o.manyLeases, "many-leases", false, "allow several leases on a VM")
	flag.StringVar(&o.nfcHost, "nfc-host", "", "host of lease URLs")
	flag.StringVar(&o.nfcLength, "nfc-length", "unknown", "unknown, known or close")
	flag.BoolVar(&o.nfcRange, "nfc-range", false, "honour Range on /nfc")
	flag.StringVar(&o.nfcThumbprint, "nfc-thumbprint", "", "thumbprint in leases")
	flag.BoolVar(&o.exitWithStdin, "exit-with-stdin", false, "end when standard input does")
	flag.IntVar(&o.maxAreas, "max-areas", 2000, "changed areas per call")
	flag.Var(&fl, "fault", "KEY=VALUE (repeat)")
	flag.Parse()
	pageMax = int32(*page)

	cfg := &config{}
	if o.config != "" {
		var err error
		if cfg, err = loadConfig(o.config); err != nil {
			return fmt.Errorf("%s: %w", o.config, err)
		}
	}
	if len(fl) > 0 {
		m := map[string]interface{}{}
		for _, kv := range fl {
			i := strings.IndexByte(kv, '=')
			if i < 0 {
				return fmt.Errorf("-fault %q: no =", kv)
			}
			var v interface{}
			if json.Unmarshal([]byte(kv[i+1:]), &v) != nil {
				v = kv[i+1:]
			}
			m[kv[:i]] = v
		}
		b, _ := json.Marshal(m)
		d := json.NewDecoder(strings.NewReader(string(b)))
		d.DisallowUnknownFields()
		if cfg.Faults == nil {
			cfg.Faults = &faults{}
		}
		if err := d.Decode(cfg.Faults); err != nil {
			return fmt.Errorf("-fault: %w", err)
		}
	}
	for _, v := range vms {
		spec, err := parseVM(v)
		if err != nil {
			return err
		}
		cfg.VMs = append(cfg.VMs, spec)
	}
	if o.soapLog != "" {
		if err := os.MkdirAll(o.soapLog, 0o755); err != nil {
			return err
		}
	}
	work, err := os.MkdirTemp("", "vcsimx-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)

	s := &server{opt: o, work: work, vms: map[types.ManagedObjectReference]*vmState{}, state: newState(cfg.Faults)}
	if err := s.buildModel(); err != nil {
		return err
	}
	defer s.model.Remove()
	for _, v := range cfg.VMs {
		name := v.Name
		for i := 0; i < v.Count || i == 0; i++ {
			if v.Count > 0 {
				v.Name = fmt.Sprintf("%s-%04d", name, i+1)
			}
			if err := s.addVM(v); err != nil {
				return err
			}
		}
	}
	pc := simulator.Map.Get(*contentPC()).(*simulator.PropertyCollector)
	p := &pager{}
	p.Self = pc.Self
	simulator.Map.Put(p)

	// The simulator's own server is only used for its mux and its set-up.
	s.model.Service.Listen = &url.URL{Host: "127.0.0.1:0", User: url.UserPassword(o.user, o.password)}
	s.model.Service.RegisterEndpoints = true
	in := s.model.Service.NewServer()
	inner := in.Config.Handler
	in.Listener.Close()
	if err := s.addTags(inner); err != nil {
		return err
	}

	var cert tls.Certificate
	if o.cert != "" {
		if cert, err = tls.LoadX509KeyPair(o.cert, o.key); err != nil {
			return err
		}
	} else if cert, err = selfSigned("vcenter.vcsimx.test"); err != nil {
		return err
	}
	if err := writePEM(o.certOut, cert); err != nil {
		return err
	}
	sha1s, sha2s := thumbs(cert)
	s.nfcFP = sha1s
	l, srv, err := serve(o.listen, cert, s.handler(inner, true, o.nfcListen == ""))
	if err != nil {
		return err
	}
	defer srv.Close()
	addr := l.Addr().String()
	ready := map[string]interface{}{"url": "https://" + addr + "/sdk", "sha1": sha1s, "sha256": sha2s, "user": o.user, "pid": os.Getpid(), "datastore": s.dsName}
	nfcAddr := addr
	if o.nfcListen != "" {
		nc, err := selfSigned("esx01.vcsimx.test")
		if err != nil {
			return err
		}
		if err := writePEM(o.nfcCertOut, nc); err != nil {
			return err
		}
		nl, nsrv, err := serve(o.nfcListen, nc, s.handler(inner, false, true))
		if err != nil {
			return err
		}
		defer nsrv.Close()
		nfcAddr = nl.Addr().String()
		a, b := thumbs(nc)
		s.nfcFP = a
		ready["nfc"], ready["nfc_sha1"], ready["nfc_sha256"] = nfcAddr, a, b
	}
	if o.nfcThumbprint != "" {
		s.nfcFP = o.nfcThumbprint
	}
	if s.opt.nfcHost == "" {
		s.opt.nfcHost = nfcAddr
		if o.esx {
			s.opt.nfcHost = "*"
		}
	}
	s.opt.nfcPath = "nfc"
	if o.esx {
		s.opt.nfcPath = "ha-nfc"
	}
	theServer = s
	simulator.Map.SessionManager().ServiceHostName = addr
	var out []map[string]interface{}
	for _, ref := range s.names {
		st := s.vms[ref]
		var disks []map[string]interface{}
		for _, k := range st.order {
			d := st.disks[k]
			fi, _ := os.Stat(d.data.stream)
			disks = append(disks, map[string]interface{}{"key": k, "device": d.ctl, "capacity": d.data.capacity, "stream_bytes": fi.Size(), "raw": d.data.raw, "stream": d.data.stream})
		}
		out = append(out, map[string]interface{}{"name": st.spec.Name, "moref": ref.Value, "disks": disks})
	}
	ready["vms"] = out
	if err := json.NewEncoder(os.Stdout).Encode(ready); err != nil {
		return err
	}
	log.Printf("serving %s", ready["url"])
	c := make(chan os.Signal, 1)
	signal.Notify(c, os.Interrupt, syscall.SIGTERM)
	if o.exitWithStdin {
		go func() {
			io.Copy(io.Discard, os.Stdin)
			c <- syscall.SIGTERM
		}()
	}
	<-c
	return nil
}

func contentPC() *types.ManagedObjectReference {
	si := simulator.Map.Get(types.ManagedObjectReference{Type: "ServiceInstance", Value: "ServiceInstance"}).(*simulator.ServiceInstance)
	return &si.Content.PropertyCollector
}

func main() {
	log.SetFlags(log.Ltime | log.Lmicroseconds)
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "vcsimx:", err)
		os.Exit(1)
	}
}
