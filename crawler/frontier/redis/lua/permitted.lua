-- Finds the commands that the user may not run on the frontier's keys. A server refuses a command only when a script
-- reaches it, which would leave the script's change half done.
--
-- KEYS  1 P mark
-- ARGV  names of commands
-- Returns those that are refused; none on servers that cannot tell (before Redis 7).
-- Stays true: everything. It writes nothing.

local refused = {}
for _, command in ipairs(ARGV) do
  local is_known, is_permitted = pcall(redis.acl_check_cmd, command, KEYS[1], KEYS[1], KEYS[1], KEYS[1])
  if is_known and not is_permitted then refused[#refused + 1] = command end
end
return refused
