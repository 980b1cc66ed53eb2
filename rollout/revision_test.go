package rollout

import "testing"

func TestCompareRevisions(t *testing.T) {
	ordered := []string{"0.0.9", "0.0.10", "1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta", "1.0.0-beta", "1.0.0-beta.2", "1.0.0-beta.11", "1.0.0-rc.1",
		"1.0.0", "1.0.1-0", "1.0.1", "1.2.0", "1.10.0", "2.0.0", "10.0.0", "99999999999999999999.0.0", "100000000000000000000.0.0"}
	for i, a := range ordered {
		for j, b := range ordered {
			want := 0
			if i < j {
				want = -1
			} else if i > j {
				want = 1
			}
			if got := compareRevisions(a, b); got != want {
				t.Errorf("%s and %s: %d, want %d", a, b, got, want)
			}
		}
	}
	for _, b := range []string{"1.0.0+a", "1.0.0+b.1-x", "1.0.0"} {
		if compareRevisions("1.0.0", b) != 0 {
			t.Errorf("1.0.0 and %s differ", b)
		}
	}
}
