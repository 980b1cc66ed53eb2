package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

// machine says what the figures were measured on.
func machine() string {
	model := "unknown CPU"
	if info, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(info)) {
			if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
				model = strings.TrimSpace(value)
				break
			}
		}
	}
	return fmt.Sprintf("Machine: %d cores, %s, %s/%s, %s, %s",
		runtime.NumCPU(), model, runtime.GOOS, runtime.GOARCH, runtime.Version(), postgresVersion())
}

func postgresVersion() string {
	servers, _ := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if path, err := exec.LookPath("postgres"); err == nil {
		servers = append(servers, path)
	}
	if len(servers) == 0 {
		return "no PostgreSQL"
	}
	out, err := exec.Command(servers[len(servers)-1], "--version").Output()
	if err != nil {
		return "unknown PostgreSQL"
	}
	version := strings.TrimSpace(string(out))
	if version, ok := strings.CutPrefix(version, "postgres (PostgreSQL) "); ok {
		return "PostgreSQL " + version
	}
	return version
}
