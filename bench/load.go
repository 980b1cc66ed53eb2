package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"
)

// load is one closed-loop measurement: each connection sends its next request
// when it has the answer to the last one.
type load struct {
	rate     float64
	p50, p99 time.Duration
}

// warmUp is how long a load runs before it counts.
const warmUp = 300 * time.Millisecond

// drive sends requests (whole HTTP/1.1 requests as bytes) to addr over conns
// connections for d. The client is written out here since it shares the cores
// with the server: net/http's would take as much of them as what is measured.
// Any answer but 200 is an error.
func drive(ctx context.Context, addr string, requests [][]byte, conns int, d time.Duration) (load, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	took := make([][]time.Duration, conns)
	ended := make([]int, conns)
	errs := make([]error, conns)
	from := time.Now().Add(warmUp)
	until := from.Add(d)
	var wg sync.WaitGroup
	for i := range conns {
		wg.Go(func() {
			took[i], ended[i], errs[i] = driveOne(ctx, addr, requests, i*len(requests)/conns, from, until)
			if errs[i] != nil {
				cancel() // the others need not go on
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil && !errors.Is(err, context.Canceled) {
			return load{}, err
		}
	}
	if err := ctx.Err(); err != nil {
		return load{}, err
	}
	all := slices.Concat(took...)
	slices.Sort(all)
	n := 0
	for _, e := range ended {
		n += e
	}
	return load{float64(n) / d.Seconds(), percentile(all, 50), percentile(all, 99)}, nil
}

// driveOne is one connection. It times what began between from and until, also
// when that ends later, and counts what ended between them.
func driveOne(ctx context.Context, addr string, requests [][]byte, next int, from, until time.Time) (took []time.Duration, ended int, err error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, 0, err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	r := bufio.NewReader(conn)
	for ; ; next++ {
		start := time.Now()
		if start.After(until) {
			return took, ended, nil
		}
		_, err := conn.Write(requests[next%len(requests)])
		if err == nil {
			_, err = readAnswer(r, nil)
		}
		if err != nil {
			if ctx.Err() != nil {
				return nil, 0, ctx.Err()
			}
			return nil, 0, fmt.Errorf("%s: %w", addr, err)
		}
		end := time.Now()
		if start.After(from) {
			took = append(took, end.Sub(start))
		}
		if end.After(from) && end.Before(until) {
			ended++
		}
	}
}

// readAnswer reads one answer of known length and appends its body to body,
// unless that is nil. It reads what these two servers send, no more.
func readAnswer(r *bufio.Reader, body []byte) ([]byte, error) {
	line, err := r.ReadSlice('\n')
	if err != nil {
		return nil, err
	}
	if !bytes.HasPrefix(line, []byte("HTTP/1.1 200 ")) {
		text := string(line)
		r.Discard(r.Buffered())
		return nil, fmt.Errorf("answered %q", text)
	}
	length := -1
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return nil, err
		}
		if len(line) <= 2 {
			break
		}
		if name, value, _ := bytes.Cut(line, []byte(":")); bytes.EqualFold(name, []byte("Content-Length")) {
			if length, err = strconv.Atoi(string(bytes.TrimSpace(value))); err != nil {
				return nil, err
			}
		}
	}
	if length < 0 {
		return nil, errors.New("the answer has no Content-Length")
	}
	if body == nil {
		_, err := r.Discard(length)
		return nil, err
	}
	body = slices.Grow(body, length)[:len(body)+length]
	_, err = io.ReadFull(r, body[len(body)-length:])
	return body, err
}

// askOnce sends one request and returns the body of the answer.
func askOnce(addr string, request []byte) ([]byte, error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if _, err := conn.Write(request); err != nil {
		return nil, err
	}
	return readAnswer(bufio.NewReader(conn), []byte{})
}

// httpRequest writes out a POST of JSON.
func httpRequest(path string, body []byte, headers ...string) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "POST %s HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: %d\r\n", path, len(body))
	for _, h := range headers {
		b.WriteString(h + "\r\n")
	}
	b.WriteString("\r\n")
	b.Write(body)
	return b.Bytes()
}
