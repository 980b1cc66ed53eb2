package announce

import (
	"bytes"
	"net/netip"
	"net/url"
	"strings"
	"testing"
)

func TestCheckURL(t *testing.T) {
	for _, good := range []string{
		"https://hooks.slack.com/services/T0/B0/x", "https://a.example:8443/x?sig=%2F&y=1", "https://8.8.8.8/x", "https://[2606:4700::1111]:443/",
		"https://a-b_c.example.", "HTTPS://A.EXAMPLE/x", "https://xn--bcher-kva.example/", "https://12.example.com1/",
	} {
		if _, err := CheckURL(good, nil); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	for _, bad := range []string{
		"", "http://a.example/", "ftp://a.example/", "//a.example/", "a.example", "https:a.example", "https:///x", "https://",
		"https://user@a.example/", "https://user:pw@a.example/", "https://@a.example/", "https://a.example/#f", "https://a.example/#",
		"https://a.example:/", "https://a.example:0/", "https://a.example:65536/", "https://a.example:x/", "https://a.example:+1/",
		"https://a.example/ x", "https://a.example/\n", "https://a.example/\x00", "https://a.example\\@b/", "https://bücher.example/",
		"https://127.0.0.1/", "https://127.1/", "https://0x7f.1/", "https://0x7f000001/", "https://2130706433/", "https://017700000001/", "https://127.0.0.1./",
		"https://0/", "https://0x/", "https://1.2.3.4.5/", "https://1.2.3.08/", "https://256.1.1.1/", "https://0X7F.0.0.1/",
		"https://[::1]/", "https://[::]/", "https://[::ffff:127.0.0.1]/", "https://[::ffff:8.8.8.8]/", "https://[::7f00:1]/", "https://[fe80::1%25eth0]/",
		"https://[fe80::1]/", "https://[fc00::1]/", "https://[fd00:ec2::254]/", "https://[64:ff9b::8.8.8.8]/", "https://[64:ff9b:1::1]/",
		"https://[2002:7f00:1::]/", "https://[2001::1]/", "https://[2001:db8::1]/", "https://[fec0::1]/", "https://[ff02::1]/", "https://[100::1]/",
		"https://[4000::1]/", "https://[127.0.0.1]/", "https://[a.example]/", "https://[::1/", "https://[8.8.8.8]/",
		"https://0.0.0.0/", "https://10.1.2.3/", "https://172.31.0.1/", "https://192.168.1.1/", "https://169.254.169.254/latest/", "https://100.64.0.1/",
		"https://100.100.100.200/", "https://168.63.129.16/", "https://192.0.0.192/", "https://192.0.2.1/", "https://198.18.0.1/", "https://198.51.100.1/",
		"https://203.0.113.9/", "https://224.0.0.1/", "https://240.0.0.1/", "https://255.255.255.255/", "https://192.88.99.1/",
		"https://localhost/", "https://LOCALHOST./", "https://a.localhost/", "https://metadata.google.internal/", "https://metadata/", "https://db.local/",
		"https://a..example/", "https://.example/", "https://a.example../", "https://a%00.example/", "https://a%2eexample/", "https://ⓛocalhost/",
		"https://" + strings.Repeat("a", 64) + ".example/", "https://" + strings.Repeat("a.", 130) + "example/", "https://a.example/" + strings.Repeat("x", 2048),
	} {
		if u, err := CheckURL(bad, nil); err == nil {
			t.Errorf("%q passes as %s", bad, u)
		}
	}
	for _, bad := range []string{"http://a.example/s3cret", "https://[s3cret", "https://s3cret%zz/", "https://a.example:s3cret/", "https://x:s3cret@a.example/", "https://a.example/s3cret\x01", "s3cret"} {
		if _, err := CheckURL(bad, nil); err == nil || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// What the operator has allowed passes, and nothing else does because of it.
func TestCheckURLAllowed(t *testing.T) {
	allow := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("::ffff:192.168.0.0/120")}
	for text, want := range map[string]bool{
		"https://10.1.2.3/": true, "http://10.1.2.3/": true, "https://[::ffff:10.1.2.3]/": true, "https://192.168.0.9/": true,
		"http://8.8.8.8/": false, "https://8.8.8.8/": true, "https://127.0.0.1/": false, "https://192.168.1.9/": false,
		"http://siem.corp/": true, "https://siem/": true, "https://2130706433/": false, "https://user@10.1.2.3/": false,
	} {
		if _, err := CheckURL(text, allow); (err == nil) != want {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestOrigin(t *testing.T) {
	for text, want := range map[string]string{
		"https://Hooks.Slack.com/services/T0/B0/secret?x=1": "https://hooks.slack.com",
		"https://a.example:8443":                            "https://a.example:8443",
		"https://[2606:4700::1111]:1/x":                     "https://[2606:4700::1111]:1",
	} {
		u, err := url.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := Origin(u); got != want {
			t.Errorf("%s: %s", text, got)
		}
	}
}

// Whatever a name resolved to is judged as an address, at the connect.
func TestGuard(t *testing.T) {
	for address, want := range map[string]bool{
		"8.8.8.8:443": true, "[2606:4700::1111]:443": true,
		"127.0.0.1:443": false, "169.254.169.254:80": false, "[::1]:443": false, "[fe80::1%lo]:443": false, "[64:ff9b::a9fe:a9fe]:443": false,
		"[::ffff:10.0.0.1]:443": false, "nonsense": false, "localhost:443": false,
	} {
		if err := (guard{secure: true}).control(t.Context(), "tcp4", address, nil); (err == nil) != want {
			t.Errorf("%s: %v", address, err)
		}
		if err := (guard{}).control(t.Context(), "tcp4", address, nil); err == nil {
			t.Errorf("%s: plain http passes", address)
		}
		if err := (guard{secure: true}).control(t.Context(), "unix", address, nil); err == nil {
			t.Errorf("%s: a socket passes", address)
		}
	}
	if err := (guard{allow: loopback}).control(t.Context(), "tcp4", "127.0.0.1:80", nil); err != nil {
		t.Error(err)
	}
}

func TestKeys(t *testing.T) {
	text, key := NewKey()
	back, err := ParseKey(text)
	if err != nil || !bytes.Equal(back, key) || len(key) != 32 {
		t.Errorf("%v %x %x", err, back, key)
	}
	if other, _ := NewKey(); other == text {
		t.Error("the same key twice")
	}
	if id := KeyID(key); len(id) != 8 || id != KeyID(back) || strings.Contains(text, id) {
		t.Error(id)
	}
	for _, bad := range []string{
		"", "whsec_", "whsec_c2hvcnQ=", text[6:], "WHSEC_" + text[6:], text + "=", text[:len(text)-1], " " + text, text + "\n", text[:20] + "\n" + text[20:],
		"whsec_" + strings.Repeat("AAAA", 22), strings.Replace(text, "whsec_", "whsec_-_", 1),
	} {
		if k, err := ParseKey(bad); err == nil {
			t.Errorf("%q passes: %x", bad, k)
		} else if len(bad) > 20 && strings.Contains(err.Error(), bad[8:]) {
			t.Errorf("the error has the key: %v", err)
		}
	}
}

func TestVisible(t *testing.T) {
	for in, want := range map[string]string{
		"host:wks-042": "host:wks-042", "Zürich 東京 🙂": "Zürich 東京 🙂", "a\nb\x1b[2J\x00": `a\u{A}b\u{1B}[2J\u{0}`,
		"user\u202egnp.exe": `user\u{202E}gnp.exe`, "a\u200bb\u2066\ufeff": `a\u{200B}b\u{2066}\u{FEFF}`, "a\u00a0\u3000b": `a\u{A0}\u{3000}b`,
		"\u3164\u2800\u115f\u034f": `\u{3164}\u{2800}\u{115F}\u{34F}`, "\U000e0041\ufe0f\U000e0100": `\u{E0041}\u{FE0F}\u{E0100}`, "bad\xff": `bad\u{FFFD}`,
		"\u2028\u0085\u009b": `\u{2028}\u{85}\u{9B}`, "\ue000": `\u{E000}`,
	} {
		if got := visible(in, 0); got != want {
			t.Errorf("%q: %s", in, got)
		}
	}
	if got := visible("abcdef", 4); got != "abcd… (2 bytes more)" {
		t.Error(got)
	}
	if got := visible("ab\u202e", 4); got != "ab… (3 bytes more)" {
		t.Error(got)
	}
}
