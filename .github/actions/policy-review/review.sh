#!/usr/bin/env bash
# Reviews a policy change: the Rego tests, the proof of the promises, and what is decided
# differently since BASE. It runs in a checkout of the change and posts nothing. By hand:
#
#   BASE=main .github/actions/policy-review/review.sh
#
# Everything comes from the environment:
#   POLICIES      the policy's folder, from the top of the repository (default: policies)
#   BASE          the git revision to compare with. Left empty: the first parent, if HEAD is the
#                 merge of PULL_HEAD that GitHub makes for a pull request, else PULL_BASE
#   ACKNOWLEDGE   file that lists the widenings that are meant; it need not exist
#   STRICT        true (default): a policy that reads what the proof does not vary fails
#   OUT           folder for the results, from the top of the repository (default: policy-review)
#   TIERGATE, OPA the programs (default: tiergate and opa)
#
# In OUT: report.md is everything, comment.md the same within the size of a comment;
# proof.json, diff.json, diff.sarif, diff.xml (JUnit); counterexamples/; and acknowledgement, the
# file that would acknowledge what widens.
#
# Exit 0: nothing to object to. 1: a test fails, a promise is broken, or something widens and
# is not acknowledged. 2: it could not be reviewed; the report says why.
set -euo pipefail
shopt -s inherit_errexit
export LC_ALL=C.UTF-8 LANGUAGE=''

policies=${POLICIES:-policies}
base=${BASE:-}
acknowledge=${ACKNOWLEDGE:-}
strict=${STRICT:-true}
out=${OUT:-policy-review}
tiergate=${TIERGATE:-tiergate}
opa=${OPA:-opa}
comment_bytes=60000  # GitHub takes 65,536 characters
summary_bytes=900000 # and 1 MiB

# bad ends with what has to be put right before anything can be reviewed.
bad() {
  printf 'policy-review: %s\n' "$*" >&2
  exit 2
}

# quoted FILE prints the file as a Markdown code block that its text cannot end.
quoted() { printf '\n'; sed 's/^/    /' -- "$1" | tr -d '\r\033'; printf '\n'; }

# within BYTES FILE prints as many whole lines as fit, and says so where not all do.
within() {
  LC_ALL=C awk -v max="$1" '{ n += length($0) + 1; if (n > max) { print "\nThe rest is too long for here; it is in the report of the job."; exit } print }' "$2"
}

# outcome CODE says what an exit code means.
outcome() {
  case $1 in
    0) printf 'passes' ;;
    1) printf '**fails**' ;;
    *) printf '**could not be done**' ;;
  esac
}

# Programs that are named by a path keep their meaning when the folder changes.
for program in tiergate opa; do
  path=$(command -v -- "${!program}") || bad "${!program} is not there: install it or set ${program^^}"
  case $path in
    /*) ;;
    */*) path=$PWD/$path ;;
  esac
  printf -v "$program" '%s' "$path"
done
top=$(git rev-parse --show-toplevel 2>/dev/null) || bad "$PWD is no git repository"
cd -- "$top"

# The policy's folder: inside the repository, and named in one way.
policies=${policies%/}
case /$policies/ in
  *[[:cntrl:]]*) bad "POLICIES holds a control character" ;;
  //* | */../* | */./*) bad "POLICIES '$policies': want a folder from the top of the repository, such as policies" ;;
esac
[[ -d ./$policies ]] || bad "POLICIES '$policies': there is no such folder in $(git rev-parse --short HEAD)"

if [[ -z $base ]]; then
  if [[ -n ${PULL_HEAD:-} && $(git rev-parse --verify --quiet 'HEAD^2') == "$PULL_HEAD" ]]; then
    base=$(git rev-parse --verify 'HEAD^1')
  else
    base=${PULL_BASE:-}
  fi
fi
[[ -n $base ]] || bad "BASE is empty: name the revision to compare with, such as main"
commit=$(git rev-parse --verify --quiet --end-of-options "$base^{commit}") ||
  bad "BASE '$base': git finds no such revision; a shallow clone has to fetch it first (actions/checkout: fetch-depth: 0)"

mkdir -p -- "$out"
out=$(cd -- "$out" && pwd)
rm -rf -- "$out"/{report.md,comment.md,acknowledgement,proof.json,diff.json,diff.sarif,diff.xml,counterexamples}
work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT
export TMPDIR=$work

# The tests are the change's own Rego: they get no environment to look at.
test_code=0
env -i PATH="$PATH" "$opa" test --timeout 60s -- "./$policies" >"$work/test.txt" 2>&1 || test_code=$?
case $test_code in 0) ;; 2) test_code=1 ;; *) test_code=2 ;; esac

flags=()
if [[ $strict == true ]]; then flags+=(--strict); fi
prove_code=0
"$tiergate" prove --format markdown --keep "$out/proof.json" --counterexamples "$out/counterexamples" "${flags[@]}" \
  -- "./$policies" >"$work/prove.md" 2>"$work/prove.txt" || prove_code=$?

diff_code=0
kind=$(git cat-file -t "$commit:$policies" 2>/dev/null) || kind=''
case $kind in
  tree)
    flags=()
    if [[ -n $acknowledge && -e $acknowledge ]]; then flags+=(--acknowledge "$acknowledge"); fi
    "$tiergate" diff --format markdown -o "json=$out/diff.json" -o "sarif=$out/diff.sarif" -o "junit=$out/diff.xml" \
      --write-acknowledgement "$out/acknowledgement" "${flags[@]}" \
      -- "git:$commit:$policies" "./$policies" >"$work/diff.md" 2>"$work/diff.txt" || diff_code=$?
    ;;
  '')
    printf '### Policy difference: a new policy\n\nThere is no such folder at the base, so there is nothing to compare with. This is what it decides.\n\n' >"$work/diff.md"
    "$tiergate" matrix --format markdown -- "./$policies" >>"$work/diff.md" 2>"$work/diff.txt" || diff_code=$?
    ;;
  *) bad "at the base '$policies' is no folder" ;;
esac

code=0
for c in "$test_code" "$prove_code" "$diff_code"; do
  if ((c > code)); then code=$c; fi
done
if ((code > 2)); then code=2; fi

# Comments are found again by the first line: one for each policy of a repository.
mark=$(printf %s "$policies" | sha256sum | cut -c 1-12)
printf '<!-- tiergate policy-review %s -->\n' "$mark" >"$work/head.md"
{
  case $code in
    0) printf '## Policy review: nothing to object to\n\n' ;;
    1) printf '## Policy review: this change fails it\n\n' ;;
    *) printf '## Policy review: it could not be done\n\n' ;;
  esac
  printf '| Check | |\n|---|---|\n'
  printf '| Rego tests (`opa test`) | %s |\n' "$(outcome "$test_code")"
  printf '| Promises (`tiergate prove`) | %s |\n' "$(outcome "$prove_code")"
  printf '| Difference from `%.12s` (`tiergate diff`) | %s |\n\n' "$commit" "$(outcome "$diff_code")"
} >>"$work/head.md"

# section TITLE MARKDOWN SAID CODE prints a part of the report: the Markdown, which begins with a
# title of its own, and what the program said where it fails.
section() {
  if [[ -s $2 ]]; then cat "$2"; else printf '### %s\n' "$1"; fi
  if (($4 > 0)) && [[ -s $3 ]]; then quoted "$3"; fi
  printf '\n'
}
# The report itself shows which promise is broken.
if [[ $(<"$work/prove.txt") == 'tiergate: the bundle breaks a promise' ]]; then : >"$work/prove.txt"; fi
{
  cat "$work/head.md"
  section "Policy difference" "$work/diff.md" "$work/diff.txt" "$diff_code"
  if ((diff_code == 1)) && [[ -n $acknowledge && -s $out/acknowledgement ]]; then
    printf '<details><summary>If all of it is meant: the file that acknowledges it</summary>\n'
    quoted "$out/acknowledgement"
    printf '</details>\n\n'
  fi
  section Proof "$work/prove.md" "$work/prove.txt" "$prove_code"
  # Last, because there may be much of it.
  if ((test_code > 0)); then
    printf '### Rego tests\n'
    quoted "$work/test.txt"
  fi
} >"$out/report.md"

# A comment that would be too long does without what can be unfolded.
if (($(wc -c <"$out/report.md") <= comment_bytes)); then
  cp -- "$out/report.md" "$out/comment.md"
else
  sed '/^<details>/,/^<\/details>/d' "$out/report.md" >"$work/short.md"
  within "$comment_bytes" "$work/short.md" >"$out/comment.md"
fi
if [[ -n ${GITHUB_STEP_SUMMARY:-} ]]; then within "$summary_bytes" "$out/report.md" >>"$GITHUB_STEP_SUMMARY"; fi
if [[ -n ${GITHUB_OUTPUT:-} ]]; then
  case $code in 0) result=pass ;; 1) result=fail ;; *) result=error ;; esac
  printf 'result=%s\n' "$result" >>"$GITHUB_OUTPUT"
fi
printf 'policy-review: tests %s, promises %s, difference %s; see %s\n' \
  "$(outcome "$test_code")" "$(outcome "$prove_code")" "$(outcome "$diff_code")" "$out/report.md" | tr -d '*' >&2
exit "$code"
