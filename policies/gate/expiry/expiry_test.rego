package gate.expiry_test

import data.gate.expiry

# [now, expires_at, ahead, passed]
_cases := [
	["2026-11-23T08:00:00Z", "2026-11-23T08:00:00Z", false, true],
	["2026-11-23T08:00:00Z", "2026-11-23T08:00:00.000Z", false, true],
	["2026-11-23T08:00:00Z", "2026-11-23T08:00:00.001Z", true, false],
	["2026-11-23T08:00:00.001Z", "2026-11-23T08:00:00Z", false, true],
	["2026-11-23T08:00:10Z", "2026-11-23T08:00:09.9Z", false, true],
	["2026-11-23T08:00:09.900Z", "2026-11-23T08:00:10Z", true, false],
	["2026-11-23T08:00:00Z", "2028-02-29T00:00:00Z", true, false],
	["2026-11-23T08:00:00Z", "9999-12-31T23:59:59Z", true, false],
	["2026-11-23T08:00:00Z", "2027-02-29T00:00:00Z", false, false],
	["2026-11-23T08:00:00Z", "2027-04-31T00:00:00Z", false, false],
	["2026-11-23T08:00:00Z", "2027-01-01T00:00:00+00:00", false, false],
	["2026-11-23T08:00:00Z", "never", false, false],
	["2026-11-23T08:00:00Z", 7, false, false],
	["2026-11-23T08:00:00Z", null, false, false],
]

test_expiry if {
	every case in _cases {
		entry := {"expires_at": case[1]}
		ahead := {1 | expiry.ahead(entry) with input.now as case[0]}
		passed := {1 | expiry.passed(entry) with input.now as case[0]}
		ahead == {1} == case[2]
		passed == {1} == case[3]
	}
}

test_none if {
	expiry.ahead_or_none({})
	expiry.ahead_or_none({"expires_at": null})
	expiry.ahead_or_none({"expires_at": "2027-01-01T00:00:00Z"}) with input.now as "2026-11-23T08:00:00Z"
	not expiry.ahead_or_none({"expires_at": "2026-01-01T00:00:00Z"}) with input.now as "2026-11-23T08:00:00Z"
	not expiry.ahead({})
	not expiry.passed({})
}
