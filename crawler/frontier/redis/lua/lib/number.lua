-- Numbers that the server holds as text.
--
-- Gives  as_number(text) → what a hash should hold as a number; 0 where anything else stands

local function as_number(text)
  local found = tonumber(text)
  return found and found > -MAX_NUMBER and found < MAX_NUMBER and found or 0 -- NaN is neither
end
