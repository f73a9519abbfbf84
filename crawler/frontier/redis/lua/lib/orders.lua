-- The rules that people have set (`crawler/control/rules.py`), read as far as they are asked for.
--
-- Gives  is_ruled(P) → whether there are any: false, or a true value
--        rule(P, key) → its number (ms between requests, a count, or 1); false: there is none
-- Stays true: without rules a script pays one HLEN. Some are read at once; of many only those that it asks for.

local rules, all_read

-- nil: the bytes are no rule.
local function number_in(text)
  local number = tonumber(string.match(text, '^(%d+) '))
  return number and number < MAX_NUMBER and number or nil
end

local function is_ruled(P)
  if rules ~= nil then return rules end
  local many = redis.call('HLEN', P .. 'rules')
  rules, all_read = many > 0 and {}, many <= ORDERS_AT_ONCE
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
