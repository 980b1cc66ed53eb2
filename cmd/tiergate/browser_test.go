package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/audits"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/cdproto/storage"
	"github.com/chromedp/chromedp"
)

// browserPatience is how long a page may take to show what is expected of it.
const browserPatience = 20 * time.Second

// startBrowser starts a headless Chromium that can reach this machine's loopback
// and nothing else, and ends with the test.
func startBrowser(t *testing.T) context.Context {
	t.Helper()
	var path string
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if found, err := exec.LookPath(name); err == nil {
			path = found
			break
		}
	}
	if path == "" {
		t.Fatal("the tests of the approval page need Chromium, which is not here: run `make packages`, or apt-get install chromium")
	}
	home := t.TempDir()
	options := append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]),
		chromedp.ExecPath(path), chromedp.UserDataDir(filepath.Join(home, "profile")), chromedp.Env("HOME="+home),
		chromedp.WSURLReadTimeout(time.Minute), // a busy machine starts it slowly
		chromedp.Flag("no-proxy-server", true), chromedp.Flag("host-resolver-rules", "MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"),
		chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-domain-reliability", true), chromedp.Flag("no-pings", true),
		chromedp.Flag("disable-gpu", true),
	)
	if os.Geteuid() == 0 {
		options = append(options, chromedp.NoSandbox) // root has no user namespace to lock it into
	}
	allocator, stop := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(stop)
	ctx, _ := chromedp.NewContext(allocator)
	t.Cleanup(func() {
		if err := chromedp.Cancel(ctx); err != nil {
			t.Logf("end the browser: %v", err)
		}
	})
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("start %s: %v", path, err)
	}
	return ctx
}

// tab is one page with cookies and storage of its own, watched: what it says on
// its console, what its policy stops, and what it asks of whom.
type tab struct {
	t   *testing.T
	ctx context.Context

	mu       sync.Mutex
	faults   []string // errors, warnings and violations of the policy
	refused  []string // answers of 400 and more, which the console names, too
	requests []string
}

// openTab opens a tab that must stay on origin and without fault until the test
// ends, and must leave nothing in the browser.
func openTab(t *testing.T, browser context.Context, origin string) *tab {
	t.Helper()
	p := watchedTab(t, browser)
	t.Cleanup(func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		for _, f := range p.faults {
			t.Errorf("the browser complains: %s", f)
		}
		for _, r := range p.requests {
			if !strings.HasPrefix(r, origin+"/") && !strings.HasPrefix(r, "about:") {
				t.Errorf("the page asked for %s", r)
			}
			if strings.ContainsAny(r, "?#") {
				t.Errorf("the page sent more than a path: %s", r)
			}
		}
	})
	t.Cleanup(func() { p.leavesNothing() })
	return p
}

func watchedTab(t *testing.T, browser context.Context) *tab {
	t.Helper()
	p := &tab{t: t}
	ctx, cancel := chromedp.NewContext(browser, chromedp.WithNewBrowserContext(), chromedp.WithListener(p.watch))
	t.Cleanup(cancel)
	p.ctx = ctx
	if err := chromedp.Do(ctx); err != nil { // without a deadline: the tab lives as long as this context
		t.Fatalf("open a tab: %v", err)
	}
	p.do("watch it", command(log.Enable, cdp.Empty{}), command(audits.Enable, cdp.Empty{}), command(network.Enable, network.EnableParams{}))
	return p
}

func (p *tab) watch(event any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch e := event.(type) {
	case *runtime.EventConsoleAPICalled:
		p.faults = append(p.faults, fmt.Sprintf("console.%s", e.Type))
	case *runtime.EventExceptionThrown:
		p.faults = append(p.faults, fmt.Sprintf("exception: %s %+v", e.ExceptionDetails.Text, e.ExceptionDetails.Exception))
	case *log.EventEntryAdded:
		if status, ok := strings.CutPrefix(e.Entry.Text, "Failed to load resource: the server responded with a status of "); ok && e.Entry.Source == log.EntrySourceNetwork {
			p.refused = append(p.refused, strings.Fields(status)[0])
		} else if e.Entry.Level == log.EntryLevelError || e.Entry.Level == log.EntryLevelWarning {
			p.faults = append(p.faults, e.Entry.Text)
		}
	case *audits.EventIssueAdded:
		if c := e.Issue.Details.ContentSecurityPolicyIssueDetails; c != nil {
			p.faults = append(p.faults, fmt.Sprintf("the policy stopped %s: %s", c.ViolatedDirective, c.BlockedURL))
		}
	case *network.EventRequestWillBeSent:
		p.requests = append(p.requests, e.Request.URL)
	}
}

// command is a command of the DevTools protocol as a step; its result is dropped.
func command[P, R any](c cdp.Command[P, R], params P) chromedp.Action[chromedp.Void] {
	return func(ctx context.Context, t *chromedp.Target) (v chromedp.Void, err error) {
		_, err = cdp.Call(ctx, t, c, params)
		return v, err
	}
}

func (p *tab) do(what string, steps ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, browserPatience)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		p.t.Fatalf("%s: %v; the page shows:\n%s", what, err, p.shows())
	}
}

// eval runs JavaScript as the browser's own tools do, which no policy of a page
// stops, and returns its string.
func (p *tab) eval(script string) string {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, browserPatience)
	defer cancel()
	out, err := chromedp.Run(ctx, chromedp.Evaluate[string](script, chromedp.EvalAwaitPromise))
	if err != nil {
		p.t.Fatalf("%s: %v", script, err)
	}
	return out
}

// text is the text of an element as the page holds it, seen or not.
func (p *tab) text(selector string) string {
	p.t.Helper()
	return p.eval(fmt.Sprintf(`document.querySelector(%q).textContent`, selector))
}

// shows is what a reader sees, for messages; "" where there is no page.
func (p *tab) shows() string {
	ctx, cancel := context.WithTimeout(p.ctx, 2*time.Second)
	defer cancel()
	text, _ := chromedp.Run(ctx, chromedp.Evaluate[string](`document.body.innerText`))
	return text
}

// sees waits until an element is shown and its text has all the parts.
func (p *tab) sees(selector string, parts ...string) {
	p.t.Helper()
	script := fmt.Sprintf(`(() => { const e = document.querySelector(%q); return e && e.checkVisibility() ? e.textContent : ""; })()`, selector)
	var got string
	for deadline := time.Now().Add(browserPatience); ; time.Sleep(20 * time.Millisecond) {
		got = p.eval(script)
		if got != "" && !slices.ContainsFunc(parts, func(part string) bool { return !strings.Contains(got, part) }) {
			return
		}
		if time.Now().After(deadline) {
			p.t.Fatalf("%s shows %q, want %q; the page shows:\n%s", selector, got, parts, p.shows())
		}
	}
}

func (p *tab) click(selector string) {
	p.t.Helper()
	p.do("click "+selector, chromedp.Click(chromedp.CSS(selector), chromedp.NodeVisible, chromedp.NodeEnabled))
}

func (p *tab) fill(selector, text string) {
	p.t.Helper()
	field := chromedp.CSS(selector)
	p.do("find "+selector, chromedp.WaitVisible(field))
	p.eval(fmt.Sprintf(`document.querySelector(%q).value = ""`, selector))
	p.do("type into "+selector, chromedp.SendKeys(field, text))
}

// leavesNothing checks that neither the page nor its requests left a trace.
func (p *tab) leavesNothing() {
	p.t.Helper()
	if p.ctx.Err() != nil {
		return
	}
	if got := p.eval(`JSON.stringify([Object.keys(localStorage), Object.keys(sessionStorage), document.cookie])`); got != `[[],[],""]` {
		p.t.Errorf("the page keeps %s", got)
	}
	kept, err := chromedp.CallBrowser(p.ctx, storage.GetCookies, storage.GetCookiesParams{BrowserContextID: chromedp.FromContext(p.ctx).BrowserContextID})
	if err != nil || len(kept.Cookies) != 0 {
		p.t.Errorf("%d cookies, %v", len(kept.Cookies), err)
	}
	if got := p.eval(`(async () => JSON.stringify([(await indexedDB.databases()).length, (await caches.keys()).length, (await navigator.serviceWorker.getRegistrations()).length]))()`); got != `[0,0,0]` {
		p.t.Errorf("the page keeps databases, caches and workers: %s", got)
	}
}

// picture keeps what a tab looks like, in both colour schemes and as wide as a
// phone, where somebody wants to look: TIERGATE_PICTURES names a folder.
func (p *tab) picture(name string) {
	p.t.Helper()
	dir := os.Getenv("TIERGATE_PICTURES")
	if dir == "" {
		return
	}
	for _, scheme := range []string{"light", "dark"} {
		for device, width := range map[string]int64{"desk": 1000, "phone": 360} {
			p.do("look like "+device, command(emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}}),
				command(emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: width, Height: 800, DeviceScaleFactor: 1, Mobile: device == "phone"}))
			png, err := chromedp.Run(p.ctx, chromedp.FullScreenshot(100))
			if err != nil {
				p.t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%s-%s-%s.png", name, device, scheme)), png, 0o644); err != nil {
				p.t.Fatal(err)
			}
		}
	}
	p.do("look as before", command(emulation.ClearDeviceMetricsOverride, cdp.Empty{}), command(emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{}))
}
