Feature: No answer without evidence

  The gate log is the product. What is not in it was not answered.

  Rule: The gate refuses to answer when the log cannot be written

    Scenario: The log's database is down
      Given a gate whose log cannot be written
      When the agent asks to notify_slack on "channel:soc"
      Then the gate gives no decision

    Scenario: The log's database is back
      Given a gate whose log cannot be written
      And the log can be written again
      When the agent asks to notify_slack on "channel:soc"
      Then the action waits for approval
      And the reason is "The tier requires approval"
      And the gate log shows the decision with its rationale and policy

  Rule: Asking twice about one action is one decision

    Scenario: The agent repeats a question it got no answer to
      Given the tenant "acme" is at tier L3-Remediate
      And the agent was allowed kill_process on "host:wks-042"
      When the agent repeats its question
      Then the action runs by itself
      And it is the same decision as before
      And the gate log shows the decision with its rationale and policy
