package checkpoint

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

var (
	// ErrFormat is of text that is no checkpoint of a gate.
	ErrFormat = errors.New("not a checkpoint")
	// ErrSignature is of a checkpoint that none of the trusted keys signed, or that
	// is not as it was signed.
	ErrSignature = errors.New("no signature of a trusted key")
)

// MaxBytes bounds a checkpoint with its signatures.
const MaxBytes = 16 << 10

// Tenant is what the id of a tenant must match: text without a slash, which is
// no name of a folder up, either.
var Tenant = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,62}$`)

// Checkpoint says what a tenant's tree was.
type Checkpoint struct {
	Name   string // of the key: whose log it is
	Tenant string
	Size   int64 // how many leaves, 1 or more
	Root   tlog.Hash
}

// Origin is the first line: it names the log.
func (c Checkpoint) Origin() string { return c.Name + "/" + c.Tenant }

// String is SIZE:ROOT, as verify prints and takes it.
func (c Checkpoint) String() string { return fmt.Sprintf("%d:%s", c.Size, c.Root) }

// Text is what is signed.
func (c Checkpoint) Text() string {
	return fmt.Sprintf("%s\n%d\n%s\n", c.Origin(), c.Size, c.Root)
}

// Sign says of a tenant's tree what it is, in the signer's name.
func Sign(s *Signer, tenant string, size int64, root tlog.Hash) ([]byte, error) {
	c := Checkpoint{Name: s.name, Tenant: tenant, Size: size, Root: root}
	switch said, err := parse(c.Text()); {
	case err != nil:
		return nil, err
	case said != c: // with a slash, the tenant would be read as another one's
		return nil, fmt.Errorf("%w: %q is no tenant", ErrFormat, tenant)
	}
	return note.Sign(&note.Note{Text: c.Text()}, s.note)
}

// Open returns what a checkpoint says, if one of the keys, of the origin's own
// name, has signed it. Signatures of other keys, as of witnesses, do not count
// and do no harm. The error is ErrFormat or ErrSignature.
func Open(text []byte, keys Keys) (Checkpoint, error) {
	if len(text) > MaxBytes {
		return Checkpoint{}, fmt.Errorf("%w: it has more than %d bytes", ErrFormat, MaxBytes)
	}
	n, err := note.Open(text, note.VerifierList(keys.list...))
	unverified, unknown := errors.AsType[*note.UnverifiedNoteError](err)
	_, bad := errors.AsType[*note.InvalidSignatureError](err)
	switch {
	case unknown:
		n = unverified.Note
	case bad:
		return Checkpoint{}, fmt.Errorf("%w: it was not signed so: %w", ErrSignature, err)
	case err != nil:
		return Checkpoint{}, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	c, err := parse(n.Text)
	if err != nil {
		return Checkpoint{}, err
	}
	for _, s := range n.Sigs {
		if s.Name == c.Name {
			return c, nil
		}
	}
	return Checkpoint{}, fmt.Errorf("%w: it is of %s, and none of the keys given is one of that name that signed it", ErrSignature, c.Origin())
}

// parse reads the text of a checkpoint: just three lines, spelled as Text spells
// them, so that one tree has one text.
func parse(text string) (Checkpoint, error) {
	var c Checkpoint
	lines := strings.Split(text, "\n")
	if len(lines) != 4 || lines[3] != "" {
		return c, fmt.Errorf("%w: want three lines, the origin, the size and the root", ErrFormat)
	}
	slash := strings.LastIndexByte(lines[0], '/')
	if slash < 0 {
		return c, fmt.Errorf("%w: the origin must be NAME/TENANT", ErrFormat)
	}
	c.Name, c.Tenant = lines[0][:slash], lines[0][slash+1:]
	var err error
	if c.Size, err = strconv.ParseInt(lines[1], 10, 64); err != nil || c.Size < 1 {
		return Checkpoint{}, fmt.Errorf("%w: the size must be a number from 1 on", ErrFormat)
	}
	if c.Root, err = tlog.ParseHash(lines[2]); err != nil {
		return Checkpoint{}, fmt.Errorf("%w: the root must be 32 bytes in base64", ErrFormat)
	}
	switch {
	case !KeyName.MatchString(c.Name), !Tenant.MatchString(c.Tenant):
		return Checkpoint{}, fmt.Errorf("%w: the origin must be NAME/TENANT, the tenant as %s", ErrFormat, Tenant)
	case c.Text() != text:
		return Checkpoint{}, fmt.Errorf("%w: size and root are not spelled as they are written", ErrFormat)
	}
	return c, nil
}
