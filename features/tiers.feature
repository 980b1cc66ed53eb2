Feature: What each maturity tier lets an agent do by itself

  A tenant's maturity tier says how far an agent may go without a person. Each
  action type has a blast radius: how far the harm of a wrong action reaches.

  Rule: An action runs by itself only where the tier covers its blast radius

    Scenario Outline: <tier> and a <radius> action
      Given the tenant "acme" is at tier <tier>
      When the agent asks to <action> on "host:wks-042"
      Then the action <outcome>
      And the reason is "<reason>"
      And the gate log shows the decision with its rationale and policy

      Examples:
        | tier         | radius   | action       | outcome             | reason                       |
        | L0-Observe   | MINIMAL  | notify_slack | waits for approval  | The tier requires approval   |
        | L0-Observe   | LOW      | run_av_scan  | waits for approval  | The tier requires approval   |
        | L0-Observe   | MEDIUM   | kill_process | waits for approval  | The tier requires approval   |
        | L0-Observe   | HIGH     | isolate_host | waits for approval  | The tier requires approval   |
        | L0-Observe   | CRITICAL | wipe_disk    | waits for approval  | CRITICAL is never automatic  |
        | L1-Notify    | MINIMAL  | notify_slack | runs by itself      | The tier allows it           |
        | L1-Notify    | LOW      | run_av_scan  | waits for approval  | The tier requires approval   |
        | L1-Notify    | MEDIUM   | kill_process | waits for approval  | The tier requires approval   |
        | L1-Notify    | HIGH     | isolate_host | waits for approval  | The tier requires approval   |
        | L1-Notify    | CRITICAL | wipe_disk    | waits for approval  | CRITICAL is never automatic  |
        | L2-Contain   | MINIMAL  | notify_slack | runs by itself      | The tier allows it           |
        | L2-Contain   | LOW      | run_av_scan  | runs by itself      | The tier allows it           |
        | L2-Contain   | MEDIUM   | kill_process | waits for approval  | The tier requires approval   |
        | L2-Contain   | HIGH     | isolate_host | waits for approval  | The tier requires approval   |
        | L2-Contain   | CRITICAL | wipe_disk    | waits for approval  | CRITICAL is never automatic  |
        | L3-Remediate | MINIMAL  | notify_slack | runs by itself      | The tier allows it           |
        | L3-Remediate | LOW      | run_av_scan  | runs by itself      | The tier allows it           |
        | L3-Remediate | MEDIUM   | kill_process | runs by itself      | The tier allows it           |
        | L3-Remediate | HIGH     | isolate_host | waits for approval  | The tier requires approval   |
        | L3-Remediate | CRITICAL | wipe_disk    | waits for approval  | CRITICAL is never automatic  |
        | L4-Automate  | MINIMAL  | notify_slack | runs by itself      | The tier allows it           |
        | L4-Automate  | LOW      | run_av_scan  | runs by itself      | The tier allows it           |
        | L4-Automate  | MEDIUM   | kill_process | runs by itself      | The tier allows it           |
        | L4-Automate  | HIGH     | isolate_host | waits for approval  | No whitelist entry matches   |
        | L4-Automate  | CRITICAL | wipe_disk    | waits for approval  | CRITICAL is never automatic  |

  Rule: A tenant that nobody configured is at L0-Observe

    Scenario: A new tenant
      Given the tenant "newcomer" was never configured
      When the agent asks to notify_slack on "channel:soc"
      Then the action waits for approval
      And the reason is "The tier requires approval"
      And the gate log shows the decision with its rationale and policy

  Rule: It makes no difference whether a person or the agent starts an action

    Scenario Outline: <who> starts it
      Given the tenant "acme" is at tier L2-Contain
      When <who> asks to quarantine_file on "file:/tmp/dropper"
      Then the action runs by itself
      And the reason is "The tier allows it"
      And the gate log shows the decision with its rationale and policy

      Examples:
        | who       |
        | the agent |
        | Anna      |
