package server

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
)

type object = map[string]any

// document is openapi.yaml as it is served.
var document = sync.OnceValue(func() object {
	raw, err := openapiJSON()
	if err != nil {
		panic(err)
	}
	var doc object
	if err := json.Unmarshal(raw, &doc); err != nil {
		panic(err)
	}
	return doc
})

// follow returns what v refers to, or v.
func follow(v any) any {
	for {
		o, ok := v.(object)
		ref, isRef := o["$ref"].(string)
		if !ok || !isRef {
			return v
		}
		v = any(document())
		for step := range strings.SplitSeq(strings.TrimPrefix(ref, "#/"), "/") {
			next, ok := v.(object)[step]
			if !ok {
				panic("openapi.yaml refers to " + ref + ", which is not there")
			}
			v = next
		}
	}
}

// at is doc[keys…], references followed; nil where something is missing.
func at(v any, keys ...string) any {
	for _, key := range keys {
		o, ok := follow(v).(object)
		if !ok {
			return nil
		}
		v = o[key]
	}
	return follow(v)
}

var parameter = regexp.MustCompile(`:([a-z_]+)`)

func documented(path string) string { return parameter.ReplaceAllString(path, "{$1}") }

func TestOpenAPIHasTheRoutesAndNoOther(t *testing.T) {
	served := []string{}
	for _, r := range newEngine(newRig(t).options).Routes() {
		served = append(served, r.Method+" "+documented(r.Path))
	}
	written := []string{}
	ids := map[string]bool{}
	for path, item := range document()["paths"].(object) {
		for method, op := range item.(object) {
			if method == "parameters" {
				continue
			}
			written = append(written, strings.ToUpper(method)+" "+path)
			id, _ := at(op, "operationId").(string)
			if id == "" || ids[id] || at(op, "summary") == nil || at(op, "responses") == nil {
				t.Errorf("%s %s: operationId missing or given twice, or no summary or responses", method, path)
			}
			ids[id] = true
		}
	}
	slices.Sort(served)
	slices.Sort(written)
	if !slices.Equal(served, written) {
		t.Errorf("served:\n%s\nwritten:\n%s", strings.Join(served, "\n"), strings.Join(written, "\n"))
	}
}

func TestOpenAPIOperationsSayRolesParametersAndErrors(t *testing.T) {
	for _, r := range routes {
		item := at(document(), "paths", documented(r.path)).(object)
		op := at(item, strings.ToLower(r.method)).(object)
		name := r.method + " " + r.path
		if got, want := fmt.Sprint(op["x-roles"]), fmt.Sprint(r.roles); r.roles != nil && got != want {
			t.Errorf("%s: x-roles %s, want %s", name, got, want)
		}
		if _, open := op["security"]; open != (r.roles == nil) {
			t.Errorf("%s: open to all is %v", name, open)
		}
		params := map[string]bool{}
		shared, _ := item["parameters"].([]any)
		own, _ := op["parameters"].([]any)
		for _, p := range append(slices.Clone(shared), own...) {
			params[fmt.Sprint(at(p, "in"), " ", at(p, "name"))] = true
			if at(p, "schema") == nil {
				t.Errorf("%s: a parameter without a schema", name)
			}
		}
		for _, m := range parameter.FindAllStringSubmatch(r.path, -1) {
			if !params["path "+m[1]] {
				t.Errorf("%s: the parameter %s is not there", name, m[1])
			}
		}
		if (r.roles != nil) != params["header X-Tenant-ID"] {
			t.Errorf("%s: X-Tenant-ID", name)
		}
		if _, body := op["requestBody"]; body != ((r.method == "POST" || r.method == "PUT") && !bodiless.MatchString(r.path)) {
			t.Errorf("%s: requestBody", name)
		}
		for status, response := range op["responses"].(object) {
			if at(response, "description") == nil {
				t.Errorf("%s: %s without a description", name, status)
			}
			if status >= "400" && r.path != "/readyz" && at(response, "content", "application/problem+json") == nil {
				t.Errorf("%s: %s is no problem+json", name, status)
			}
		}
	}
}

// Every schema uses only words that the checker of these tests knows, every
// reference leads somewhere, and every example is what its schema says.
func TestOpenAPIStructureAndExamples(t *testing.T) {
	doc := document()
	if v, _ := doc["openapi"].(string); !strings.HasPrefix(v, "3.1.") || at(doc, "info", "title") == nil || at(doc, "info", "version") == nil {
		t.Error("openapi, info.title or info.version")
	}
	examples := 0
	var walk func(path string, v any)
	walk = func(path string, v any) {
		switch v := v.(type) {
		case []any:
			for i, e := range v {
				walk(fmt.Sprintf("%s[%d]", path, i), e)
			}
		case object:
			follow(v) // panics where the reference leads nowhere
			if schema, ok := v["schema"]; ok {
				if list, ok := v["examples"].(object); ok {
					for name := range list {
						examples++
						for _, fault := range check(schema, at(list, name, "value"), path+" example "+name) {
							t.Error(fault)
						}
					}
				}
			}
			for key, e := range v {
				walk(path+"/"+key, e)
			}
		}
	}
	walk("", doc)
	if examples < 8 {
		t.Errorf("only %d examples", examples)
	}
	raw, _ := json.Marshal(doc)
	for kind, list := range doc["components"].(object) {
		for name := range list.(object) {
			if kind != "securitySchemes" && !strings.Contains(string(raw), `"#/components/`+kind+`/`+name+`"`) {
				t.Errorf("components/%s/%s is used nowhere", kind, name)
			}
		}
	}
}

// bodiless are what is asked for by the path alone.
var bodiless = regexp.MustCompile(`/(test|replay)$`)

// The requests that the document shows work.
func TestOpenAPIRequestExamplesWork(t *testing.T) {
	for _, route := range routes {
		examples, _ := at(document(), "paths", documented(route.path), strings.ToLower(route.method), "requestBody", "content", "application/json", "examples").(object)
		for name := range examples {
			r := newRig(t)
			body, _ := json.Marshal(at(examples, name, "value"))
			if got := r.do("acme-all", route.method, concrete(route.path), string(body)); got.status != 200 && got.status != 201 {
				t.Errorf("%s %s, example %s: %d %s", route.method, route.path, name, got.status, got.raw)
			}
		}
	}
}

// The table of problems in the description has every name that the code uses.
func TestOpenAPIListsEveryProblem(t *testing.T) {
	text := at(document(), "info", "description").(string)
	kinds := map[string]bool{"bad_request": true, "not_found": true}
	for _, p := range problems {
		kinds[p.problem.Type] = true
	}
	files, _ := filepath.Glob("*.go")
	call := regexp.MustCompile(`problem\(http\.[A-Za-z]+, "([a-z_]+)"`)
	for _, file := range files {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range call.FindAllStringSubmatch(string(source), -1) {
			kinds[m[1]] = true
		}
	}
	row := regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\| [0-9]{3} \\|")
	listed := map[string]bool{}
	for _, m := range row.FindAllStringSubmatch(text, -1) {
		listed[m[1]] = true
	}
	if got, want := slices.Sorted(maps.Keys(listed)), slices.Sorted(maps.Keys(kinds)); !slices.Equal(got, want) {
		t.Errorf("listed %v\nused   %v", got, want)
	}
}

func TestOpenAPIIsServed(t *testing.T) {
	got := newRig(t).must(200, "", "GET", "/openapi.json", "")
	if got.header.Get("Content-Type") != "application/json" || got.body["openapi"] == nil {
		t.Errorf("%.100s", got.raw)
	}
}

// conform says where an answer is not what the document promises: a status that
// is not listed, a key that is not documented, a value of another kind.
func conform(method, path string, status int, header http.Header, body []byte) []string {
	for _, r := range routes {
		if r.method != method || !routeMatches(r.path, path) {
			continue
		}
		op := at(document(), "paths", documented(r.path), strings.ToLower(method))
		name := fmt.Sprintf("%s %s → %d", method, r.path, status)
		response := at(op, "responses", fmt.Sprint(status))
		if response == nil {
			return []string{name + " is not in openapi.yaml"}
		}
		content, _ := at(response, "content").(object)
		kind, _, _ := strings.Cut(header.Get("Content-Type"), ";")
		if content == nil && len(body) == 0 {
			return nil
		}
		media, ok := content[kind]
		if !ok {
			return []string{name + " has the undocumented Content-Type " + kind}
		}
		if !strings.HasSuffix(kind, "json") {
			return nil
		}
		var v any
		if err := json.Unmarshal(body, &v); err != nil {
			return []string{name + ": " + err.Error()}
		}
		return check(at(media, "schema"), v, name)
	}
	return nil
}

func routeMatches(pattern, path string) bool {
	p, s := strings.Split(pattern, "/"), strings.Split(path, "/")
	if len(p) != len(s) {
		return false
	}
	for i := range p {
		if p[i] != s[i] && !strings.HasPrefix(p[i], ":") {
			return false
		}
	}
	// decisions/batch and decisions/preview are no decision ids.
	return !(strings.Contains(pattern, ":decision_id") && (s[len(s)-1] == "batch" || s[len(s)-1] == "preview"))
}
