package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/tiergate/tiergate/cmd/tiergate/binarytest"
	"github.com/tiergate/tiergate/store/storetest"
)

// terminal is a pseudo terminal: what is written to its program side is read at
// the other one, with \r\n for \n.
func terminal(t *testing.T) (keyboard, program *os.File) {
	t.Helper()
	keyboard, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { keyboard.Close() })
	var n, unlocked int32
	for request, value := range map[uintptr]*int32{syscall.TIOCSPTLCK: &unlocked, syscall.TIOCGPTN: &n} {
		if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, keyboard.Fd(), request, uintptr(unsafe.Pointer(value))); errno != 0 {
			t.Fatal(errno)
		}
	}
	program, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { program.Close() })
	return keyboard, program
}

// Decisions are coloured on a terminal, unless NO_COLOR says no; never in a pipe.
func TestColour(t *testing.T) {
	g := binarytest.Serve(t, "--dev", "--database-url", storetest.SQLite(t))
	if status, body, err := g.Do("POST", "/decisions", "dev", "", `{"action_type":"block_ip","target":"203.0.113.9"}`); err != nil || status != http.StatusOK {
		t.Fatalf("%d %s %v", status, body, err)
	}
	show := func(env string, stdout io.Writer, line string) {
		t.Helper()
		cmd := exec.Command(binarytest.Path(t), strings.Fields(line)...)
		cmd.Env = append(os.Environ(), "TIERGATE_URL="+g.URL, "TIERGATE_TOKEN=dev", "TERM=xterm", env)
		cmd.Stdout = stdout
		if err := cmd.Run(); cmd.ProcessState.ExitCode() == exitUsage {
			t.Fatal(err)
		}
	}
	for _, line := range []string{"ask block_ip 203.0.113.9 --preview", "log"} {
		for env, coloured := range map[string]bool{"NO_COLOR=": true, "NO_COLOR=1": false, "TERM=dumb": false} {
			keyboard, program := terminal(t)
			show(env, program, line)
			program.Close()
			shown := make([]byte, 4096)
			n, err := keyboard.Read(shown)
			if err != nil {
				t.Fatal(err)
			}
			text := string(shown[:n])
			if !strings.Contains(text, "queued_approval") || strings.Contains(text, "\x1b[33mqueued_approval\x1b[0m") != coloured {
				t.Errorf("%s with %s: %q", line, env, text)
			}
		}
		var pipe bytes.Buffer
		show("NO_COLOR=", &pipe, line)
		if strings.Contains(pipe.String(), "\x1b") {
			t.Errorf("%s in a pipe is coloured: %q", line, pipe.String())
		}
	}
}

// Ctrl-C at a question is no yes: exit 1, and nothing is sent.
func TestInterruptedQuestion(t *testing.T) {
	g := binarytest.Serve(t, "--dev", "--database-url", storetest.SQLite(t))
	_, program := terminal(t)
	cmd := exec.Command(binarytest.Path(t), "tier", "set", "4", "--reason", "x")
	cmd.Env = append(os.Environ(), "TIERGATE_URL="+g.URL, "TIERGATE_TOKEN=dev")
	cmd.Stdin = program
	asked := &watched{until: "[y/N]", seen: make(chan struct{})}
	cmd.Stderr = asked
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-asked.seen:
	case <-time.After(20 * time.Second):
		t.Error("no question came")
	}
	cmd.Process.Signal(os.Interrupt)
	cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != exitNo || !strings.Contains(asked.String(), "interrupted, so nothing was sent") {
		t.Errorf("exit code %d\n%s", code, asked)
	}
	if _, body, err := g.Do("GET", "/config", "dev", "", ""); err != nil || !strings.Contains(string(body), `"config_epoch":0`) {
		t.Errorf("%s %v", body, err)
	}
}
