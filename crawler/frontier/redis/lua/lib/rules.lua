-- Reads the rules that people have set (`crawler/control/rules.py`), when they are needed.
--
-- Gives  is_ruled(P) → a true value if there are any rules, else false
--        rule(P, key) → the rule's number (ms between requests, a count, or 1); false if there is no such rule
-- Stays true: without rules a script pays one HLEN. It reads few rules all at once, and of many only those it needs.

local rules, all_read

-- The number of a rule; nil if the bytes are not a rule.
local function number_in(text)
  local number = tonumber(string.match(text, '^(%d+) '))
  return number and number < MAX_NUMBER and number or nil
end

local function is_ruled(P)
  if rules ~= nil then return rules end
  local many = redis.call('HLEN', P .. 'rules')
  rules, all_read = many > 0 and {}, many <= RULES_AT_ONCE
  if rules and all_read then
    local flat = redis.call('HGETALL', P .. 'rules')
    for i = 1, #flat, 2 do rules[flat[i]] = number_in(flat[i + 1]) end
  end
  return rules
end

local function rule(P, key)
  if not is_ruled(P) then return false end
  if rules[key] == nil and not all_read then
    local text = redis.call('HGET', P .. 'rules', key)
    rules[key] = text and number_in(text)
  end
  return rules[key] or false
end
