-- Numbers that the server holds as text.
--
-- Gives  as_number(text) → the value of a hash field as a number; 0 if it is not a number
-- Stays true: whatever the text is, the number is between -MAX_NUMBER and MAX_NUMBER.

local function as_number(text)
  local found = tonumber(text)
  return found and found > -MAX_NUMBER and found < MAX_NUMBER and found or 0 -- NaN is neither
end
