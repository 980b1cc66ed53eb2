Feature: What waits for approval

  What the gate does not let run by itself waits for people. Somebody who may
  says yes or no to exactly this action, in time; the gate then decides once
  more before anything runs; and all of it is evidence.

  Background:
    Given the tenant "acme" is at tier L2-Contain

  Rule: One person's yes lets an action run, for a minute

    Scenario: An approver says yes
      Given the agent waits for approval to isolate_host on "host:wks-042"
      When Anna approves it because "the user confirmed the phishing"
      Then the action is released
      And the approval says "Approved in time"
      And the agent may begin within a minute
      And the gate log shows that it was decided again and is still "queued_approval"
      And the evidence names Anna and "the user confirmed the phishing"

    Scenario: The agent that waits learns it at once
      Given the agent waits for approval to isolate_host on "host:wks-042"
      And the agent listens for the answer
      When Anna approves it because "the user confirmed the phishing"
      Then the action is released
      And the agent hears that it is released
      And the gate log shows that it was decided again and is still "queued_approval"

    Scenario: An approver says no
      Given the agent waits for approval to isolate_host on "host:ceo"
      When Anna denies it because "the board meets today"
      Then the action is denied
      And the approval says "An approver said no"
      And the gate log shows no second decision
      And the evidence names Anna and "the board meets today"

  Rule: CRITICAL takes two different people, and never becomes automatic

    Scenario: Two people
      Given the agent waits for approval to wipe_disk on "host:wks-042"
      And Anna has approved it because "it is infected"
      When Ben approves it because "the backup is good"
      Then the action is released
      And the gate log shows that it was decided again and is still "queued_approval"
      And the gate log shows no CRITICAL action that ran by itself

    Scenario: One person with two tokens
      Given the agent waits for approval to wipe_disk on "host:wks-042"
      And Ben has approved it because "it is infected"
      When Ben approves it with another token because "me again"
      Then the vote is not taken
      And the action still waits for approval
      And the gate log shows no second decision

  Rule: Nobody lets their own request, and no agent lets anything run

    Scenario: Who asked approves
      Given Anna waits for approval to isolate_host on "host:wks-042"
      When Anna approves it because "I know what I do"
      Then the vote is not taken
      And the action still waits for approval
      And the gate log shows no second decision

    Scenario: An agent that is also an approver
      Given the agent waits for approval to isolate_host on "host:wks-042"
      When another agent approves it because "trust me"
      Then the vote is not taken
      And the action still waits for approval
      And the gate log shows no second decision

    Scenario: An approver of another tenant
      Given the agent waits for approval to isolate_host on "host:wks-042"
      When an approver of another tenant approves it because "looks fine"
      Then the vote is not taken
      And the action still waits for approval
      And the gate log shows no second decision

  Rule: The gate decides again when enough people have approved

    Scenario: The action was blocked meanwhile
      Given the agent waits for approval to isolate_host on "host:wks-042"
      And an operator blocks isolate_host because "the console is down"
      When Anna approves it because "the user confirmed the phishing"
      Then the action is refused
      And the approval says "It is blocked now"
      And the gate log shows that it was decided again and is now "blocked"

    Scenario: The tenant was stopped meanwhile
      Given the agent waits for approval to isolate_host on "host:wks-042"
      And an operator stops the tenant because "the agent misbehaves"
      When Anna approves it because "the user confirmed the phishing"
      Then the action is refused
      And the approval says "The tenant is stopped now"
      And the gate log shows that it was decided again and is still "queued_approval"

    Scenario: The tier was lowered meanwhile
      Given the agent waits for approval to isolate_host on "host:wks-042"
      And the tenant "acme" is lowered to tier L0-Observe
      When Anna approves it because "the user confirmed the phishing"
      Then the action is released
      And the gate log shows that it was decided again and is still "queued_approval"

  Rule: The same action has one approval, and one approval is for one action

    Scenario: The agent asks for the same again and again
      Given the agent waits for approval to isolate_host on "host:wks-042"
      When the agent asks to isolate_host on "host:wks-042"
      Then the action waits for approval
      And it waits for the same approval as before
      And the gate log shows the decision with its rationale and policy

    Scenario: The agent asks for another target
      Given the agent waits for approval to isolate_host on "host:wks-042"
      When the agent asks to isolate_host on "host:wks-043"
      Then the action waits for approval
      And it waits for another approval
      And the gate log shows the decision with its rationale and policy

    Scenario: An action that was released is asked for again
      Given the agent waits for approval to isolate_host on "host:wks-042"
      And Anna has approved it because "the user confirmed the phishing"
      When the agent asks to isolate_host on "host:wks-042"
      Then the action waits for approval
      And it waits for another approval
      And the gate log shows the decision with its rationale and policy

    Scenario: Who asked takes it back
      Given the agent waits for approval to isolate_host on "host:wks-042"
      When the agent takes it back because "the host is gone"
      Then the action is cancelled
      And the gate log shows no second decision

  Rule: What came of an action is reported, and what was never reported can be found

    Scenario: The action fired and failed
      Given the agent waits for approval to isolate_host on "host:wks-042"
      And Anna has approved it because "the user confirmed the phishing"
      When the agent reports that it failed because "the console answered 500"
      Then the report is taken
      And the auditor finds it among what "failed"
      And the gate log shows that it was decided again and is still "queued_approval"

    Scenario: The action fired and nothing was reported
      Given the agent waits for approval to isolate_host on "host:wks-042"
      When Anna approves it because "the user confirmed the phishing"
      Then the action is released
      And the auditor finds it among what "none"
      And the gate log shows that it was decided again and is still "queued_approval"

    Scenario: An action that nobody let go
      Given the agent waits for approval to isolate_host on "host:wks-042"
      When the agent reports that it executed because "I could not wait"
      Then the report is not taken
      And the action still waits for approval
      And the gate log shows no second decision
