// nfc.go - the NFC server of a host: disk streams by ticket, with fault switches.
package main

import (
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"log"
	"net/http"
	"os"
	"path"
	"strconv"
	"strings"
	"time"
)

// serveNFC answers GET /nfc/<ticket>/<file>. Like a host it needs no session:
// the ticket in the path is the authorisation; it does not honour Range.
func (s *server) serveNFC(w http.ResponseWriter, r *http.Request) {
	p := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	if len(p) != 3 {
		http.NotFound(w, r)
		return
	}
	l := s.state.leaseByToken(p[1])
	if l == nil || !l.live() {
		log.Printf("nfc: no live lease for %s", r.URL.Path)
		http.NotFound(w, r)
		return
	}
	l.mu.Lock()
	f := l.files[p[2]]
	l.mu.Unlock()
	if f == nil {
		http.NotFound(w, r)
		return
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	s.state.nfcStart(r)
	if code := s.state.takeStatus(); code != 0 {
		w.WriteHeader(code)
		return
	}
	file, err := os.Open(f.path)
	if err != nil {
		http.Error(w, err.Error(), 500)
		return
	}
	defer file.Close()
	st, _ := file.Stat()
	size := st.Size()
	start := int64(0)
	if s.opt.nfcRange {
		var from int64
		if n, _ := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &from); n == 1 && from > 0 && from < size {
			start = from
			w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, size-1, size))
		}
	}
	ctype := "application/x-vnd.vmware-streamVmdk"
	if !f.disk {
		ctype = "application/octet-stream"
	}
	w.Header().Set("Content-Type", ctype)
	switch {
	case s.opt.nfcLength == "known" || !f.disk:
		w.Header().Set("Content-Length", strconv.FormatInt(size-start, 10))
	case s.opt.nfcLength == "close":
		w.Header().Set("Transfer-Encoding", "identity")
		w.Header().Set("Connection", "close")
	}
	if start > 0 {
		w.WriteHeader(http.StatusPartialContent)
		file.Seek(start, io.SeekStart)
	} else {
		w.WriteHeader(http.StatusOK)
	}
	if r.Method == http.MethodHead {
		return
	}
	fl := s.state.takeNFC(r.URL.Path)
	h1, h2 := sha1.New(), sha256.New()
	var sum hash.Hash = multiHash{h1, h2}
	buf := make([]byte, 64<<10)
	sent := int64(0)
	begin := time.Now()
	cut := func(how string) {
		log.Printf("nfc: %s %s after %d bytes", how, r.URL.Path, sent)
		panic(http.ErrAbortHandler)
	}
	for {
		select {
		case <-l.gone:
			cut("lease gone, cut")
		default:
		}
		want := int64(len(buf))
		for _, lim := range []int64{fl.dropAt, fl.truncAt, fl.stallAt} {
			if lim > sent && lim-sent < want {
				want = lim - sent
			}
		}
		n, rerr := file.Read(buf[:want])
		if n > 0 {
			b := buf[:n]
			sum.Write(b)
			if c := fl.corruptAt; c > 0 && c > sent && c <= sent+int64(n) {
				b = append([]byte(nil), b...)
				b[c-sent-1] ^= 0xff
			}
			if _, err := w.Write(b); err != nil {
				log.Printf("nfc: client gone after %d bytes: %v", sent, err)
				return
			}
			sent += int64(n)
			s.state.addBytes(int64(n))
			if fl.rate > 0 {
				if fw, ok := w.(http.Flusher); ok {
					fw.Flush()
				}
				due := time.Duration(float64(sent) / float64(fl.rate) * float64(time.Second))
				if d := due - time.Since(begin); d > 0 {
					select {
					case <-time.After(d):
					case <-l.gone:
					case <-r.Context().Done():
						return
					}
				}
			}
		}
		flush := func() {
			if fw, ok := w.(http.Flusher); ok {
				fw.Flush()
			}
		}
		switch {
		case fl.dropAt > 0 && sent >= fl.dropAt:
			flush()
			cut("dropped")
		case fl.stallAt > 0 && sent >= fl.stallAt:
			flush()
			log.Printf("nfc: stalling %s after %d bytes", r.URL.Path, sent)
			select {
			case <-l.gone:
			case <-r.Context().Done():
			}
			cut("stalled")
		case fl.truncAt > 0 && sent >= fl.truncAt:
			flush()
			log.Printf("nfc: clean early end of %s after %d bytes", r.URL.Path, sent)
			return
		}
		if rerr == io.EOF {
			break
		}
		if rerr != nil {
			cut(rerr.Error())
		}
	}
	l.mu.Lock()
	f.complete, f.sent, f.sha1, f.sha256 = true, sent+start, hex.EncodeToString(h1.Sum(nil)), hex.EncodeToString(h2.Sum(nil))
	l.mu.Unlock()
	log.Printf("nfc: sent %s, %d bytes", path.Base(r.URL.Path), sent)
}

type multiHash struct{ a, b hash.Hash }

func (m multiHash) Write(p []byte) (int, error) { m.a.Write(p); return m.b.Write(p) }
func (m multiHash) Sum(b []byte) []byte         { return m.b.Sum(b) }
func (m multiHash) Reset()                      { m.a.Reset(); m.b.Reset() }
func (m multiHash) Size() int                   { return m.b.Size() }
func (m multiHash) BlockSize() int              { return m.b.BlockSize() }
