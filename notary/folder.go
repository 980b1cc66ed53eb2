package notary

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/tiergate/tiergate/checkpoint"
)

// Folder keeps checkpoints in files: for each tenant a folder with
//
//	latest          the newest checkpoint, replaced as a whole
//	2026-11.notes   all that were written in that month (UTC), one behind the
//	                other with an empty line between; only appended to
//
// It is worth as much as it is out of reach for whoever runs the database:
// another machine's disk, an append-only volume. One gate writes to it; another
// one gets a folder of its own.
type Folder struct {
	dir  string
	root *os.Root // nothing outside of it is touched, whatever the tenant
}

const latestName = "latest"

// OpenFolder makes the folder, if need be, and sees that it can be written.
func OpenFolder(dir string) (*Folder, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	f := &Folder{dir: dir, root: root}
	if err := f.replace(".writable", []byte("\n")); err != nil {
		root.Close()
		return nil, err
	}
	return f, errors.Join(root.Remove(".writable"))
}

// Close ends the use of the folder.
func (f *Folder) Close() error { return f.root.Close() }

func (f *Folder) path(tenant string) string { return filepath.Join(f.dir, tenant, latestName) }

// tenants are those that have a folder.
func (f *Folder) tenants() (list []string, err error) {
	entries, err := fs.ReadDir(f.root.FS(), ".")
	if err != nil {
		return nil, fmt.Errorf("read the checkpoints in %s: %w", f.dir, err)
	}
	for _, e := range entries {
		if e.IsDir() && checkpoint.Tenant.MatchString(e.Name()) {
			list = append(list, e.Name())
		}
	}
	return list, nil
}

// latest is the tenant's newest checkpoint, nil where there is none.
func (f *Folder) latest(tenant string) ([]byte, error) {
	file, err := f.root.Open(filepath.Join(tenant, latestName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the last checkpoint of tenant %s: %w", tenant, err)
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, checkpoint.MaxBytes+1))
	if err != nil {
		return nil, fmt.Errorf("read the last checkpoint of tenant %s: %w", tenant, err)
	}
	return text, nil
}

// write keeps a checkpoint; it is on the disk when write returns nil.
func (f *Folder) write(_ context.Context, tenant string, note []byte) error {
	if !checkpoint.Tenant.MatchString(tenant) {
		return fmt.Errorf("%q is no tenant", tenant)
	}
	if err := f.root.MkdirAll(tenant, 0o755); err != nil {
		return err
	}
	month := filepath.Join(tenant, time.Now().UTC().Format("2006-01")+".notes")
	file, err := f.root.OpenFile(month, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = file.Write(append(note[:len(note):len(note)], '\n'))
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return err
	}
	return f.replace(filepath.Join(tenant, latestName), note)
}

// replace writes a file as a whole, or not at all.
func (f *Folder) replace(name string, content []byte) error {
	temporary := name + "." + rand.Text()[:8] + ".tmp"
	file, err := f.root.OpenFile(temporary, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = file.Write(content)
	if err = errors.Join(err, file.Sync(), file.Close()); err == nil {
		err = f.root.Rename(temporary, name)
	}
	if err != nil {
		return errors.Join(err, f.root.Remove(temporary))
	}
	folder, err := f.root.Open(filepath.Dir(name))
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}
