Feature: Trust that depends on the target

  The same action can be trusted against some targets and not against others.

  Rule: At L2, block_ip runs by itself from confidence 0.95, but never against private ranges

    Background:
      Given the tenant "acme" is at tier L2-Contain
      And an operator forces block_ip from confidence 0.95 but not against private ranges because "trial with the edge firewall"

    Scenario Outline: <case>
      When the agent asks to block_ip on "<target>" with confidence <confidence>
      Then the action <outcome>
      And the reason is "<reason>"
      And the gate log shows the decision with its rationale and policy

      Examples:
        | case                                 | target             | confidence | outcome            | reason                            |
        | a public address, sure enough        | 203.0.113.9        | 0.95       | runs by itself     | A force_auto override is in force |
        | a public address, not sure           | 203.0.113.9        | 0.94       | waits for approval | The tier requires approval        |
        | a private address                    | 10.0.0.7           | 0.99       | waits for approval | The tier requires approval        |
        | a private address with its prefix    | ip:192.168.1.1     | 0.99       | waits for approval | The tier requires approval        |
        | a private address dressed as IPv6    | ::ffff:10.0.0.7    | 0.99       | waits for approval | The tier requires approval        |
        | a network that holds private ranges  | 0.0.0.0/0          | 0.99       | waits for approval | The tier requires approval        |
        | an address written with leading zero | 010.0.0.7          | 0.99       | waits for approval | The tier requires approval        |
        | a name, which may be any address     | host:edge.acme     | 0.99       | waits for approval | The tier requires approval        |

    Scenario: An agent that does not say how sure it is
      When the agent asks to block_ip on "203.0.113.9"
      Then the action waits for approval
      And the reason is "The tier requires approval"
      And the gate log shows the decision with its rationale and policy

  Rule: At L3, block_ip runs by itself, but asks before private ranges

    Background:
      Given the tenant "acme" is at tier L3-Remediate
      And an operator wants to be asked before block_ip against private ranges because "it cut off a branch office"

    Scenario Outline: <case>
      When the agent asks to block_ip on "<target>"
      Then the action <outcome>
      And the reason is "<reason>"
      And the gate log shows the decision with its rationale and policy

      Examples:
        | case                                | target          | outcome            | reason                           |
        | a public address                    | 203.0.113.9     | runs by itself     | The tier allows it               |
        | a private address                   | 172.16.4.4      | waits for approval | An approval override is in force |
        | a private address dressed as IPv6   | ::ffff:10.0.0.7 | waits for approval | An approval override is in force |
        | a network that overlaps one         | 8.0.0.0/5       | waits for approval | An approval override is in force |
        | a name, which may be any address    | host:branch-7   | waits for approval | An approval override is in force |
