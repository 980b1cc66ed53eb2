package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// build compiles a main package, as seen from the module in dir, to path.
func build(ctx context.Context, dir, pkg, path string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-o", path, pkg)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build %s: %w\n%s", pkg, err, out)
	}
	return nil
}

// freeAddr is a loopback address on which nobody listens now.
func freeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// startServer runs a server and waits until health answers 200. It is killed
// with s, and with this process. Its stdout goes to /dev/null. Its stderr is
// shown if it does not start, unless quiet: then it goes there, too, which is
// for a server that logs there without end, as `opa run` does.
func startServer(s *scratch, health string, quiet bool, name string, args ...string) error {
	_, err := startProcess(s, health, quiet, name, args...)
	return err
}

func startProcess(s *scratch, health string, quiet bool, name string, args ...string) (*os.Process, error) {
	cmd := exec.Command(name, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	var stderr bytes.Buffer
	if !quiet {
		cmd.Stderr = &stderr
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	exited := make(chan struct{})
	go func() { cmd.Wait(); close(exited) }()
	s.Cleanup(func() { cmd.Process.Kill(); <-exited })
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); {
		if resp, err := http.Get(health); err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return cmd.Process, nil
			}
		}
		select {
		case <-exited:
			return nil, fmt.Errorf("%s ended at once:\n%s", name, stderr.String())
		case <-s.ctx.Done():
			return nil, s.ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
	return nil, fmt.Errorf("%s is not ready after 30 s", name)
}

func runQuiet(ctx context.Context, name string, args ...string) error {
	if out, err := exec.CommandContext(ctx, name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", name, err, out)
	}
	return nil
}
