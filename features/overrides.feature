Feature: Overrides: block, ask or force one action type

  An operator can set an action type apart from what the tier says. Blocking and
  asking narrow what the agent may do; forcing widens it.

  Rule: A block always blocks

    Scenario: A block at the highest tier
      Given the tenant "acme" is at tier L4-Automate
      And an operator blocks block_ip because "the firewall is being replaced"
      When the agent asks to block_ip on "203.0.113.9"
      Then the action is blocked
      And the reason is "A block override is in force"
      And the gate log shows the decision with its rationale and policy

    Scenario: A block beats a force
      Given the tenant "acme" is at tier L4-Automate
      And an operator forces block_ip because "trial"
      And an operator blocks block_ip because "trial is over"
      When the agent asks to block_ip on "203.0.113.9"
      Then the action is blocked
      And the reason is "A block override is in force"
      And the gate log shows the decision with its rationale and policy

  Rule: An action type can be made to ask although the tier allows it

    Scenario: Ask before ending processes
      Given the tenant "acme" is at tier L3-Remediate
      And an operator wants to be asked before kill_process because "it hit payroll"
      When the agent asks to kill_process on "host:hr-007"
      Then the action waits for approval
      And the reason is "An approval override is in force"
      And the gate log shows the decision with its rationale and policy

    Scenario: Asking beats a force
      Given the tenant "acme" is at tier L0-Observe
      And an operator forces kill_process because "trial"
      And an operator wants to be asked before kill_process because "it hit payroll"
      When the agent asks to kill_process on "host:hr-007"
      Then the action waits for approval
      And the reason is "An approval override is in force"
      And the gate log shows the decision with its rationale and policy

  Rule: A forced action runs by itself below CRITICAL, whatever the tier

    Scenario: A forced HIGH action at L0
      Given the tenant "acme" is at tier L0-Observe
      And an operator forces isolate_host because "ransomware drill"
      When the agent asks to isolate_host on "host:wks-042"
      Then the action runs by itself
      And the reason is "A force_auto override is in force"
      And the gate log shows the decision with its rationale and policy

    Scenario: A force never lifts CRITICAL
      Given the tenant "acme" is at tier L4-Automate
      And an operator forces wipe_disk because "we dare"
      When the agent asks to wipe_disk on "host:wks-042"
      Then the action waits for approval
      And the reason is "CRITICAL is never automatic"
      And the gate log shows the decision with its rationale and policy

  Rule: An action type that nobody has classified counts as CRITICAL

    Scenario: An unknown action type
      Given the tenant "acme" is at tier L4-Automate
      When the agent asks to reboot_the_moon on "moon:1"
      Then the action waits for approval
      And the reason is "CRITICAL is never automatic"
      And its blast radius is CRITICAL
      And the gate log shows the decision with its rationale and policy

  Rule: An override ends at its expiry

    Scenario: A force that has run out
      Given the tenant "acme" is at tier L0-Observe
      And an operator forces kill_process for 1 second because "short trial"
      And 2 seconds have passed
      When the agent asks to kill_process on "host:wks-042"
      Then the action waits for approval
      And the reason is "The tier requires approval"
      And the gate log shows the decision with its rationale and policy
