Feature: The whitelist for HIGH actions at L4

  At L4-Automate a HIGH action runs by itself only against targets that a
  whitelist entry names. Every entry ends.

  Background:
    Given the tenant "acme" is at tier L4-Automate
    And the whitelist lets isolate_host run on targets that start with "host:lab-" because "lab machines are expendable"

  Rule: An entry covers its action type on its targets

    Scenario: A target that the entry names
      When the agent asks to isolate_host on "host:lab-3"
      Then the action runs by itself
      And the reason is "A whitelist entry matches"
      And the decision names the whitelist entry
      And the gate log shows the decision with its rationale and policy

    Scenario: A target that it does not name
      When the agent asks to isolate_host on "host:wks-042"
      Then the action waits for approval
      And the reason is "No whitelist entry matches"
      And the gate log shows the decision with its rationale and policy

    Scenario: A target spelled in capitals is another target
      When the agent asks to isolate_host on "HOST:LAB-3"
      Then the action waits for approval
      And the reason is "No whitelist entry matches"
      And the gate log shows the decision with its rationale and policy

    Scenario: Another action type
      When the agent asks to disable_user on "host:lab-3"
      Then the action waits for approval
      And the reason is "No whitelist entry matches"
      And the gate log shows the decision with its rationale and policy

    Scenario: Another tenant
      Given the tenant "umbrella" is at tier L4-Automate
      When the agent asks to isolate_host on "host:lab-3"
      Then the action waits for approval
      And the reason is "No whitelist entry matches"
      And the gate log shows the decision with its rationale and policy

  Rule: The whitelist counts at L4 only

    Scenario: One tier lower
      Given the tenant "acme" is lowered to tier L3-Remediate
      When the agent asks to isolate_host on "host:lab-3"
      Then the action waits for approval
      And the reason is "The tier requires approval"
      And the gate log shows the decision with its rationale and policy

  Rule: An entry ends at its expiry, or when it is removed

    Scenario: An entry that has run out
      Given the whitelist lets run_script run on targets that start with "host:lab-" for 1 second because "one rollout"
      And 2 seconds have passed
      When the agent asks to run_script on "host:lab-3"
      Then the action waits for approval
      And the reason is "No whitelist entry matches"
      And the gate log shows the decision with its rationale and policy

    Scenario: An entry that was removed
      Given the operator removes the whitelist entry because "the lab went live"
      When the agent asks to isolate_host on "host:lab-3"
      Then the action waits for approval
      And the reason is "No whitelist entry matches"
      And the gate log shows the decision with its rationale and policy
