package server

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"net"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/gin-gonic/gin"
)

// Role is what a credential may do.
type Role string

const (
	Agent    Role = "agent"    // asks
	Operator Role = "operator" // asks, and turns the dial
	Auditor  Role = "auditor"  // makes every GET
	// PolicyAdmin changes which policy decides, for all tenants at once; only a
	// credential for all tenants can have it.
	PolicyAdmin Role = "policy_admin"
	Approver    Role = "approver" // says yes or no to actions that wait for approval
)

// allRoles are all that a token file can name.
var allRoles = []Role{Agent, Operator, Auditor, Approver, PolicyAdmin}

// anyTenant is the tenant of a credential that names the tenant itself.
const anyTenant = "*"

// defaultTenant is what such a credential speaks for when it names none.
const defaultTenant = "default"

var tenantID = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,62}$`)

// credentialName bounds what goes into every row as the principal.
var credentialName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._@:/+-]{0,127}$`)

type credential struct {
	hash   [sha256.Size]byte
	name   string
	tenant string
	roles  []Role
	person string // whose it is; several credentials may be one person's
}

// Tokens is the set of credentials, from a file or built in. The file holds
// SHA-256 hashes only; the tokens themselves are never stored or logged.
type Tokens struct {
	path string
	list atomic.Pointer[[]credential]
}

// LoadTokens reads a token file: a line each,
// `<sha256 hex of the token> <name> <tenant|*> <role,role> [person]`, `#`
// comments. Without a person, the credential is that of the person of its name.
func LoadTokens(path string) (*Tokens, error) {
	t := &Tokens{path: path}
	if err := t.Reload(); err != nil {
		return nil, err
	}
	return t, nil
}

// DevTokens is the token "dev", with every role for every tenant, and those of
// two people who approve: an agent, which dev is, too, never can.
func DevTokens() *Tokens {
	t := &Tokens{}
	list := []credential{{sha256.Sum256([]byte("dev")), "dev", anyTenant, allRoles, "dev"}}
	for _, name := range []string{"dev-anna", "dev-ben"} {
		list = append(list, credential{sha256.Sum256([]byte(name)), name, anyTenant, []Role{Approver}, name})
	}
	t.list.Store(&list)
	return t
}

// Reload reads the file again. When it is bad, the tokens stay as they are.
func (t *Tokens) Reload() error {
	if t.path == "" {
		return nil
	}
	content, err := os.ReadFile(t.path)
	if err != nil {
		return fmt.Errorf("read the token file: %w", err)
	}
	list, err := parseTokens(content)
	if err != nil {
		return fmt.Errorf("token file %s: %w", t.path, err)
	}
	t.list.Store(&list)
	return nil
}

func parseTokens(content []byte) ([]credential, error) {
	var list []credential
	lines := bufio.NewScanner(bytes.NewReader(content))
	for n := 1; lines.Scan(); n++ {
		line, _, _ := strings.Cut(lines.Text(), "#")
		fields := strings.Fields(line)
		if len(fields) == 0 {
			continue
		}
		if len(fields) != 4 && len(fields) != 5 {
			return nil, fmt.Errorf("line %d: want `<sha256 hex> <name> <tenant|*> <role,role> [person]`", n)
		}
		c := credential{name: fields[1], tenant: fields[2], person: fields[1]}
		if len(fields) == 5 {
			c.person = fields[4]
		}
		if !credentialName.MatchString(c.person) {
			return nil, fmt.Errorf("line %d: the person must match %s", n, credentialName)
		}
		if !credentialName.MatchString(c.name) {
			return nil, fmt.Errorf("line %d: the name must match %s", n, credentialName)
		}
		sum, err := hex.DecodeString(fields[0])
		if err != nil || len(sum) != sha256.Size {
			return nil, fmt.Errorf("line %d: the first field must be the SHA-256 of the token in hex: printf %%s TOKEN | sha256sum", n)
		}
		copy(c.hash[:], sum)
		if c.tenant != anyTenant && !tenantID.MatchString(c.tenant) {
			return nil, fmt.Errorf("line %d: %q is no tenant id", n, c.tenant)
		}
		for role := range strings.SplitSeq(fields[3], ",") {
			if !slices.Contains(allRoles, Role(role)) {
				return nil, fmt.Errorf("line %d: unknown role %q: want agent, operator, auditor, approver or policy_admin", n, role)
			}
			if Role(role) == PolicyAdmin && c.tenant != anyTenant {
				return nil, fmt.Errorf("line %d: policy_admin is for all tenants: the tenant must be *", n)
			}
			c.roles = append(c.roles, Role(role))
		}
		for _, other := range list {
			if other.hash == c.hash {
				return nil, fmt.Errorf("line %d: the same token as %q", n, other.name)
			}
			if other.name == c.name && other.person != c.person {
				return nil, fmt.Errorf("line %d: %q is of %q here and of %q above: one name is one person's", n, c.name, c.person, other.person)
			}
		}
		list = append(list, c)
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("no token in it, so nobody could ask")
	}
	return list, nil
}

// find compares with every hash, in constant time each.
func (t *Tokens) find(token string) *credential {
	sum := sha256.Sum256([]byte(token))
	var found *credential
	list := *t.list.Load()
	for i := range list {
		if subtle.ConstantTimeCompare(sum[:], list[i].hash[:]) == 1 {
			found = &list[i]
		}
	}
	return found
}

// rolesNow are the roles that credentials of that name have for a tenant today:
// none where there is no such credential any more.
func (t *Tokens) rolesNow(name, tenant string) []string {
	var roles []string
	for _, c := range *t.list.Load() {
		if c.name == name && (c.tenant == tenant || c.tenant == anyTenant) {
			roles = append(roles, roleNames(c.roles)...)
		}
	}
	slices.Sort(roles)
	return slices.Compact(roles)
}

func roleNames(roles []Role) []string {
	names := make([]string, len(roles))
	for i, r := range roles {
		names[i] = string(r)
	}
	return names
}

// caller is who makes a request, for which tenant.
type caller struct {
	name       string
	tenant     string
	allTenants bool // the credential is good for all of them
	person     string
	roles      []Role
}

const callerKey = "tiergate.caller"

func who(c *gin.Context) caller { return c.MustGet(callerKey).(caller) }

// authenticate lets a request pass whose credential has one of the roles.
func (s *server) authenticate(roles []Role) gin.HandlerFunc {
	return func(c *gin.Context) {
		w, err := s.identify(c.Request, roles)
		if err != nil {
			s.fail(c, err)
			return
		}
		c.Set(callerKey, w)
	}
}

func (s *server) identify(r *http.Request, roles []Role) (caller, error) {
	unauthorized := problem(http.StatusUnauthorized, "unauthorized", "A token is needed", "Send Authorization: Bearer <token> with a token that the gate knows.")
	headers := r.Header.Values("Authorization")
	if len(headers) != 1 {
		return caller{}, unauthorized
	}
	scheme, token, ok := strings.Cut(headers[0], " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") || token == "" {
		return caller{}, unauthorized
	}
	cred := s.tokens.find(token)
	if cred == nil {
		return caller{}, unauthorized
	}
	named := r.Header.Values("X-Tenant-ID")
	if len(named) > 1 {
		return caller{}, badField("X-Tenant-ID", "name one tenant")
	}
	tenant := cred.tenant
	switch {
	case tenant == anyTenant && len(named) == 1:
		if tenant = named[0]; !tenantID.MatchString(tenant) {
			return caller{}, badField("X-Tenant-ID", "a tenant id matches "+tenantID.String())
		}
	case tenant == anyTenant:
		tenant = defaultTenant
	case len(named) == 1 && named[0] != tenant:
		return caller{}, notFound("This credential knows no such tenant.")
	}
	if !slices.ContainsFunc(roles, func(r Role) bool { return slices.Contains(cred.roles, r) }) {
		return caller{}, problem(http.StatusForbidden, "forbidden", "The credential's roles do not allow this",
			fmt.Sprintf("It takes one of the roles %v.", roles))
	}
	return caller{cred.name, tenant, cred.tenant == anyTenant, cred.person, cred.roles}, nil
}

// loopbackHost guards --dev against DNS rebinding: a page in a browser can make
// a name of its own point here, but cannot make the Host header say localhost.
func (s *server) loopbackHost(c *gin.Context) {
	host := c.Request.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.Trim(host, "[]")
	if ip := net.ParseIP(host); strings.EqualFold(host, "localhost") || (ip != nil && ip.IsLoopback()) {
		return
	}
	s.fail(c, problem(http.StatusMisdirectedRequest, "wrong_host", "The Host header names another server", "With --dev the gate answers to localhost only."))
}
