package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/vmware/govmomi/vapi/rest"
	_ "github.com/vmware/govmomi/vapi/simulator" // serves /rest of a vCenter
	"github.com/vmware/govmomi/vapi/tags"
)

// Paths of the REST API below /rest.
const (
	sessionPath     = "/com/vmware/cis/session"
	categoryPath    = "/com/vmware/cis/tagging/category"
	tagPath         = "/com/vmware/cis/tagging/tag"
	associationPath = "/com/vmware/cis/tagging/tag-association"
)

// tagSpec is a tag of a VM; it and its category are made where they are not there yet.
type tagSpec struct {
	Category string `json:"category"`
	Name     string `json:"name"`
}

// restStatus says whether a call of the REST API may pass (200): the library takes any password.
func (s *server) restStatus(r *http.Request) int {
	s.state.mu.Lock()
	if s.state.f.RESTStatusN > 0 {
		s.state.f.RESTStatusN--
		defer s.state.mu.Unlock()
		return s.state.f.RESTStatus
	}
	s.state.mu.Unlock()
	if r.URL.Path != rest.Path+sessionPath {
		return http.StatusOK
	}
	s.state.note("rest.session." + r.Method)
	user, password, _ := r.BasicAuth()
	if r.Method == http.MethodPost && (user != s.opt.user || password != s.opt.password) {
		return http.StatusUnauthorized
	}
	return http.StatusOK
}

// addTags gives the VMs of the inventory their tags, by the REST API itself.
func (s *server) addTags(inner http.Handler) error {
	session, made := "", map[string]string{}
	post := func(path string, body interface{}) (string, error) {
		b, _ := json.Marshal(body)
		r := httptest.NewRequest(http.MethodPost, rest.Path+path, bytes.NewReader(b))
		r.SetBasicAuth(s.opt.user, s.opt.password)
		r.Header.Set("vmware-api-session-id", session)
		w := httptest.NewRecorder()
		inner.ServeHTTP(w, r)
		var reply struct {
			Value json.RawMessage `json:"value"`
		}
		if w.Code != http.StatusOK {
			return "", fmt.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
		_ = json.Unmarshal(w.Body.Bytes(), &reply)
		return strings.Trim(string(reply.Value), `"`), nil
	}
	once := func(key, path string, spec interface{}) (string, error) {
		if made[key] == "" {
			id, err := post(path, map[string]interface{}{"create_spec": spec})
			if err != nil {
				return "", err
			}
			made[key] = id
		}
		return made[key], nil
	}
	for _, ref := range s.names {
		for _, t := range s.vms[ref].spec.Tags {
			var err error
			if session == "" {
				if session, err = post(sessionPath, nil); err != nil {
					return err
				}
			}
			category, err := once(t.Category, categoryPath, tags.Category{Name: t.Category})
			if err != nil {
				return err
			}
			tag, err := once(t.Category+"\x00"+t.Name, tagPath, tags.Tag{Name: t.Name, CategoryID: category})
			if err != nil {
				return err
			}
			to := map[string]interface{}{"object_id": map[string]string{"type": ref.Type, "id": ref.Value}}
			if _, err = post(associationPath+"/id:"+tag+"?~action=attach", to); err != nil {
				return err
			}
		}
	}
	return nil
}
