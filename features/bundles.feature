Feature: Which policy decides

  The rules are reviewed like code. Which of them decide is changed by few people, each time with a reason, for all gates
  at once, and every change is kept for ever.

  Rule: A new policy decides only after somebody activates it

    Scenario: Paula brings a stricter policy
      Given two gates for the tenant "acme" at tier L1-Notify
      And Paula brings policy 1.2.0, in which search_siem waits for approval, because "searches cost money"
      When the agent asks to search_siem on "index:main"
      Then the action runs by itself
      And the reason is "The tier allows it"
      And the gate log shows the decision with its rationale and policy
      And the policy's history shows that Paula brought 1.2.0 because "searches cost money"

  Rule: An activated policy decides at every gate from that moment

    Scenario: Paula activates the stricter policy
      Given two gates for the tenant "acme" at tier L1-Notify
      And Paula brings policy 1.2.0, in which search_siem waits for approval, because "searches cost money"
      And Paula activates policy 1.2.0 because "the pilot went well"
      When the agent asks the other gate to search_siem on "index:main"
      Then the action waits for approval
      And the reason is "The tier requires approval"
      And the gate log shows the decision with its rationale and policy
      And the policy's history shows that Paula activated 1.2.0 because "the pilot went well"

  Rule: Decisions of the past keep the policy that made them

    Scenario: The stricter policy comes after a decision
      Given two gates for the tenant "acme" at tier L1-Notify
      And the agent was allowed search_siem on "index:main"
      And Paula brings policy 1.2.0, in which search_siem waits for approval, because "searches cost money"
      And Paula activates policy 1.2.0 because "the pilot went well"
      When the agent asks to search_siem on "index:main"
      Then the action waits for approval
      And the gate log shows the decision with its rationale and policy
      And the gate log still shows every decision made before
      And every policy that the gate log names is kept

  Rule: A policy that decided before can be had back

    Scenario: The stricter policy asks too often
      Given two gates for the tenant "acme" at tier L1-Notify
      And Paula brings policy 1.2.0, in which search_siem waits for approval, because "searches cost money"
      And Paula activates policy 1.2.0 because "the pilot went well"
      And Paula goes back to policy 1.1.1 because "it asks too often"
      When the agent asks the other gate to search_siem on "index:main"
      Then the action runs by itself
      And the gate log shows the decision with its rationale and policy
      And the policy's history shows that Paula went back to 1.1.1 because "it asks too often"

  Rule: What must not decide cannot be activated

    Scenario: An older policy is activated as if it were new
      Given two gates for the tenant "acme" at tier L1-Notify
      And Paula brings policy 1.2.0, in which search_siem waits for approval, because "searches cost money"
      And Paula activates policy 1.2.0 because "the pilot went well"
      But Paula may not activate policy 1.1.1, which is older
      When the agent asks to search_siem on "index:main"
      Then the action waits for approval
      And the gate log shows the decision with its rationale and policy

    Scenario: A policy that gives no decision where an operator blocks
      Given two gates for the tenant "acme" at tier L1-Notify
      But Paula may not bring policy 1.2.0, which gives no decision where an operator blocks
      When the agent asks to search_siem on "index:main"
      Then the action runs by itself
      And the gate log shows the decision with its rationale and policy

    Scenario: A policy that breaks a promise is proved to do so
      Given two gates for the tenant "acme" at tier L4-Automate
      And Paula brings policy 1.2.0, in which HIGH actions run by themselves at L4, because "fewer questions"
      But Paula may not activate policy 1.2.0, which breaks the promise "HIGH is auto only by a force_auto override in force or, at L4, a whitelist entry in force"
      When the agent asks to isolate_host on "host:wks-042"
      Then the action waits for approval
      And the gate log shows the decision with its rationale and policy

    Scenario: A policy does something that its proof does not look at
      Given two gates for the tenant "acme" at tier L1-Notify
      And Paula brings policy 1.2.0, in which an action with more than two overrides waits for approval, because "caution"
      But Paula may not activate policy 1.2.0 without taking on what its proof does not cover
      When the agent asks to search_siem on "index:main"
      Then the action runs by itself
      And the gate log shows the decision with its rationale and policy

    Scenario: Paula takes on what the proof does not look at
      Given two gates for the tenant "acme" at tier L1-Notify
      And Paula brings policy 1.2.0, in which an action with more than two overrides waits for approval, because "caution"
      And Paula activates policy 1.2.0 and takes on what its proof does not cover because "reviewed by hand"
      When the agent asks to search_siem on "index:main"
      Then the action runs by itself
      And the gate log shows the decision with its rationale and policy
      And the policy's history shows that Paula activated 1.2.0 because "reviewed by hand"

    Scenario: An operator of a tenant turns to the policy of all
      Given two gates for the tenant "acme" at tier L1-Notify
      And Paula brings policy 1.2.0, in which search_siem waits for approval, because "searches cost money"
      But an operator may not activate policy 1.2.0
      When the agent asks to search_siem on "index:main"
      Then the action runs by itself
      And the gate log shows the decision with its rationale and policy

  Rule: A candidate can be tried on what is really asked, without being heard

    Scenario: The stricter policy as a shadow
      Given two gates for the tenant "acme" at tier L1-Notify
      And Paula brings policy 1.2.0, in which search_siem waits for approval, because "searches cost money"
      And Paula lets policy 1.2.0 decide beside the active one because "how often would it ask?"
      When the agent asks to search_siem on "index:main"
      Then the action runs by itself
      And the gate log shows the decision with its rationale and policy
      And Paula sees that policy 1.2.0 would have let it wait for approval
