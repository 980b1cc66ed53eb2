package announce

import (
	"errors"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// maxURL is how long a channel's URL may be: Slack's have 80 bytes, Teams' 300.
const maxURL = 2048

// localSuffixes are names that are never of the internet. They are refused at
// once, for a clear answer; what is safe is decided by the address at connect.
// RFC 6761, RFC 6762, RFC 8375, and ICANN's reservation of .internal.
var localSuffixes = []string{".localhost", ".internal", ".local", ".localdomain", ".home.arpa", ".lan", ".intranet", ".corp", ".home", ".test", ".invalid", ".onion"}

// CheckURL reads the URL of a channel and refuses what announcements will never
// be sent to, as far as that shows without asking anybody. allow are the networks
// that the operator of the gate has allowed; where there are any, plain http and
// local names pass here, and the address is judged at every connect. No error
// repeats the URL.
func CheckURL(raw string, allow []netip.Prefix) (*url.URL, error) {
	if raw == "" {
		return nil, errors.New("a URL is needed")
	}
	if len(raw) > maxURL {
		return nil, errors.New("the URL has more than 2048 bytes")
	}
	for i := range len(raw) {
		if c := raw[i]; c <= ' ' || c >= 0x7f || c == '\\' {
			return nil, errors.New(`the URL has a space, a control character, "\" or a letter beyond ASCII: write it percent-encoded, and the host as "xn--…"`)
		}
	}
	u, err := url.Parse(raw)
	if err != nil {
		return nil, errors.New("this is not a URL") // the error of url.Parse repeats it
	}
	switch {
	case u.Scheme == "http" && len(allow) == 0:
		return nil, errors.New("the URL must begin with https://")
	case u.Scheme != "https" && u.Scheme != "http":
		return nil, errors.New("the URL must begin with https://")
	case u.Opaque != "" || u.Host == "":
		return nil, errors.New("the URL has no host")
	case u.User != nil:
		return nil, errors.New("the URL must not hold a user name or password")
	case strings.Contains(raw, "#"):
		return nil, errors.New(`the URL must not have a fragment, "#…"`)
	}
	if err := checkPort(u); err != nil {
		return nil, err
	}
	if err := checkHost(u, allow); err != nil {
		return nil, err
	}
	return u, nil
}

func checkPort(u *url.URL) error {
	if strings.HasSuffix(u.Host, ":") {
		return errors.New("the port is missing after the colon")
	}
	if p := u.Port(); p != "" {
		if n, err := strconv.ParseUint(p, 10, 16); err != nil || n == 0 {
			return errors.New("the port must be a number from 1 to 65535")
		}
	}
	return nil
}

func checkHost(u *url.URL, allow []netip.Prefix) error {
	host := u.Hostname()
	if strings.HasPrefix(u.Host, "[") {
		a, err := netip.ParseAddr(host)
		if err != nil || !a.Is6() || a.Zone() != "" {
			return errors.New("between the brackets must be an IPv6 address without a zone")
		}
		return checkAddr(a, allow, u.Scheme == "https")
	}
	if a, err := netip.ParseAddr(host); err == nil {
		return checkAddr(a, allow, u.Scheme == "https")
	}
	name := strings.ToLower(strings.TrimSuffix(host, "."))
	labels := strings.Split(name, ".")
	for _, l := range labels {
		if l == "" || len(l) > 63 || strings.Trim(l, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return errors.New("the host must be a name of letters, digits, hyphens and dots, or an IP address")
		}
	}
	// What ends in a number is an IPv4 address to browsers and C libraries, in
	// any of a dozen spellings. https://url.spec.whatwg.org/#ends-in-a-number-checker
	if numeric(labels[len(labels)-1]) {
		return errors.New("an IPv4 address is written as four decimal numbers")
	}
	if len(name) > 253 {
		return errors.New("the host's name is too long")
	}
	if len(allow) == 0 && (len(labels) == 1 || isLocal(name)) {
		return errors.New("this host is a local name: the gate connects to local addresses only if its operator has allowed them")
	}
	return nil
}

func isLocal(name string) bool {
	for _, s := range localSuffixes {
		if strings.HasSuffix("."+name, s) {
			return true
		}
	}
	return false
}

func numeric(label string) bool {
	if digits, hex := strings.CutPrefix(label, "0x"); hex {
		return strings.Trim(digits, "0123456789abcdef") == ""
	}
	return strings.Trim(label, "0123456789") == ""
}

// Origin is what may be shown of a channel's URL: scheme, host and port.
func Origin(u *url.URL) string { return strings.ToLower(u.Scheme + "://" + u.Host) }
