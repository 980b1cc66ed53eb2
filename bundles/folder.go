package bundles

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
)

// isPolicyFile tells what of a folder belongs to a bundle. Go sources lie beside
// the Rego, and test data of other tools does not count.
func isPolicyFile(name string) bool {
	switch path.Base(name) {
	case ".manifest", "data.yaml", "data.yml", "data.json":
		return true
	}
	return strings.HasSuffix(name, ".rego")
}

// readFolder reads the policy files under the root of fsys; all of them, whatever
// they are, if all is set.
func readFolder(fsys fs.FS, all bool) ([]file, error) {
	var set fileSet
	err := fs.WalkDir(fsys, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		wanted := all || isPolicyFile(name)
		switch {
		case entry.IsDir():
			return nil
		case entry.Type()&fs.ModeSymlink != 0:
			return checkLink(fsys, name, wanted)
		case !wanted:
			return nil
		case !entry.Type().IsRegular():
			return fmt.Errorf("%w: %q is no plain file", ErrInvalid, name)
		}
		f, err := fsys.Open(name)
		if err != nil {
			return err
		}
		defer f.Close()
		info, err := f.Stat()
		if err != nil {
			return err
		}
		return set.add(name, info.Size(), f)
	})
	return set.files, err
}

// checkLink refuses a link that hides policy or leads out of the folder. OPA
// skips every link in silence, and a policy would miss a rule.
func checkLink(fsys fs.FS, name string, wanted bool) error {
	target, err := fs.ReadLink(fsys, name)
	if err != nil {
		return err
	}
	refuse := func(why string) error {
		return fmt.Errorf("%w: %q is a link to %q, %s; copy the file", ErrInvalid, name, target, why)
	}
	if strings.HasPrefix(target, "/") || !fs.ValidPath(path.Join(path.Dir(name), target)) {
		return refuse("which leaves the bundle")
	}
	if wanted {
		return refuse("and links are not read")
	}
	info, err := fs.Stat(fsys, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.IsDir() {
		return refuse("a folder, and links are not read")
	}
	return nil
}
