#!/usr/bin/env bash
# Posts the comment of review.sh on a pull request, or puts it in the place of the one that was
# posted before. It needs gh, and a token that may write to pull requests. From the environment:
#   COMMENT  the file; its first line marks the comment
#   PULL     the pull request's number
#   GITHUB_REPOSITORY, GH_TOKEN
set -euo pipefail
bad() {
  printf 'policy-review: %s\n' "$*" >&2
  exit 2
}
[[ ${PULL:-} =~ ^[0-9]+$ ]] || bad "PULL '${PULL:-}' is no number of a pull request"
[[ ${GITHUB_REPOSITORY:-} =~ ^[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+$ ]] || bad "GITHUB_REPOSITORY '${GITHUB_REPOSITORY:-}': want owner/name"
[[ -f ${COMMENT:-} ]] || bad "COMMENT '${COMMENT:-}': there is no such file; the review wrote none"
IFS= read -r mark <"$COMMENT" || true
[[ $mark =~ ^'<!-- tiergate policy-review '[0-9a-f]{12}' -->'$ ]] || bad "$COMMENT was not written by review.sh"
(($(wc -c <"$COMMENT") <= 65536)) || bad "$COMMENT is larger than a comment may be"

comments=repos/$GITHUB_REPOSITORY/issues/$PULL/comments
export mark
# Only a comment of a bot: whoever copies the mark into a comment does not get it overwritten.
ids=$(gh api --paginate "$comments?per_page=100" \
  --jq '.[] | select(.user.type == "Bot" and (.body | startswith(env.mark))) | .id')
id=${ids%%$'\n'*}
if [[ -n $id ]]; then
  [[ $id =~ ^[0-9]+$ ]] || bad "GitHub gave '$id' as the id of a comment"
  gh api --silent --method PATCH "repos/$GITHUB_REPOSITORY/issues/comments/$id" -F "body=@$COMMENT"
else
  gh api --silent --method POST "$comments" -F "body=@$COMMENT"
fi
