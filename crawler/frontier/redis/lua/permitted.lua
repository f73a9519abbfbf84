-- Tells which commands the user may not run on the frontier's keys. A script that is refused one half-way would leave
-- its change half done, and servers tell a refused command only then.
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
