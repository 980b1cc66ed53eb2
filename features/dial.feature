Feature: Turning the dial

  The operator turns a tenant's autonomy up and down at any moment, without a
  restart, and nothing that was written is lost.

  Rule: A change of tier counts from the next decision on

    Scenario: Raising the tier
      Given the tenant "acme" is at tier L0-Observe
      And the agent was told to wait with kill_process on "host:wks-042"
      And the tenant "acme" is raised to tier L3-Remediate
      When the agent asks to kill_process on "host:wks-042"
      Then the action runs by itself
      And the reason is "The tier allows it"
      And the gate log still shows every decision made before
      And the gate log shows the decision with its rationale and policy

    Scenario: Dropping the tier
      Given the tenant "acme" is at tier L3-Remediate
      And the agent was allowed kill_process on "host:wks-042"
      And the tenant "acme" is lowered to tier L1-Notify
      When the agent asks to kill_process on "host:wks-042"
      Then the action waits for approval
      And the reason is "The tier requires approval"
      And the gate log still shows every decision made before
      And the history still shows every change made before
      And the gate log shows the decision with its rationale and policy

  Rule: Whoever lowers the tier is told what a force keeps automatic

    Scenario: A force survives the drop to L0
      Given the tenant "acme" is at tier L3-Remediate
      And an operator forces block_ip because "the edge firewall undoes it by itself"
      And the tenant "acme" is lowered to tier L0-Observe
      When the agent asks to block_ip on "203.0.113.9"
      Then the operator was told that block_ip still runs by itself
      And the action runs by itself
      And the reason is "A force_auto override is in force"
      And the gate log shows the decision with its rationale and policy

  Rule: A stop lets nothing run by itself until it is released

    Scenario: A stopped tenant
      Given the tenant "acme" is at tier L4-Automate
      And an operator forces block_ip because "trial"
      And an operator stops the tenant because "the agent misbehaves"
      When the agent asks to block_ip on "203.0.113.9"
      Then the action waits for approval
      And the reason is "The tenant is stopped"
      And the gate log shows the decision with its rationale and policy

    Scenario: What is blocked stays blocked during a stop
      Given the tenant "acme" is at tier L4-Automate
      And an operator blocks block_ip because "never"
      And an operator stops the tenant because "the agent misbehaves"
      When the agent asks to block_ip on "203.0.113.9"
      Then the action is blocked
      And the reason is "A block override is in force"
      And the gate log shows the decision with its rationale and policy

    Scenario: A released tenant
      Given the tenant "acme" is at tier L3-Remediate
      And an operator stops the tenant because "the agent misbehaves"
      And an operator releases the tenant because "fixed"
      When the agent asks to block_ip on "203.0.113.9"
      Then the action runs by itself
      And the reason is "The tier allows it"
      And the gate log shows the decision with its rationale and policy
