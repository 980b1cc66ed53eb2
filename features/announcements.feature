Feature: Who is told

  An action that runs by itself because of a whitelist entry is announced to
  those whom the entry names, and whoever approves is told what waits. Nothing
  of that is lost, nobody else can forge it, and a message alone lets nothing run.

  Background:
    Given the tenant "acme" is at tier L4-Automate
    And the receiver "siem" is a webhook of the tenant

  Rule: Whoever a whitelist entry names is told each time it lets an action go

    Scenario: The owner of a whitelist entry is told
      Given isolate_host is whitelisted on "host:wks-042" and announced to "webhook:siem"
      When the agent asks to isolate_host on "host:wks-042"
      Then the action runs by itself
      And the gate log shows the decision with its rationale and policy
      And within seconds "siem" is told that it ran by itself, by which entry and why
      And the message is signed by the gate, and a changed copy of it is not

    Scenario: An entry that names no channel is not silent about it
      Given isolate_host is whitelisted on "host:wks-042" and announced to "slack:#nowhere"
      When the agent asks to isolate_host on "host:wks-042"
      Then the action runs by itself
      And the gate log shows the decision with its rationale and policy
      And the auditor finds an announcement that was given up because there is no channel "nowhere"

  Rule: Whoever approves is told what waits, and a link approves nothing

    Scenario: An approval is announced once
      Given the receiver "duty" is a webhook that is told of approvals
      When the agent asks to isolate_host on "host:ceo"
      And the agent asks to isolate_host on "host:ceo"
      Then the action waits for approval
      And the gate log shows the decision with its rationale and policy
      And within seconds "duty" is told once that isolate_host on "host:ceo" waits, and until when
      And following the link of the message changes nothing

  Rule: A receiver that is away loses nothing

    Scenario: It comes back
      Given isolate_host is whitelisted on "host:wks-042" and announced to "webhook:siem"
      And "siem" answers nothing but errors
      When the agent asks to isolate_host on "host:wks-042"
      And "siem" works again
      Then the action runs by itself
      And the gate log shows the decision with its rationale and policy
      And within seconds "siem" is told that it ran by itself, by which entry and why

  Rule: Where messages go is part of the evidence, but not the secrets

    Scenario: The history of a channel
      Then the history shows who set the channel "siem", and neither its path nor its key
