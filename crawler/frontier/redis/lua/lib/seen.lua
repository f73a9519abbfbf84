-- The seen-set: linear hashing over sets that are small enough to stay arrays of integers.
--
-- Gives  power_below(buckets) → the largest power of two that is not above `buckets`
--        hash(fingerprint, range) → 0 … range - 1
--        bucket_number(fingerprint, buckets, low) → its bucket
--        twin_of(fingerprint) → the neighbouring fingerprint, whose twin is this one
-- Stays true: a request's fingerprint is the twin of another's only with a chance of 2^-64 for each pair.

-- A double keeps 53 of the 64 bits. It does not matter which ones, as long as an integer always gives the same ones.
local function hash(fingerprint, range)
  return math.floor(fingerprint / 2048) % range
end

local function power_below(number)
  local power = 1
  while power * 2 <= number do power = power * 2 end
  return power
end

-- With N buckets and L the power of two below: h mod 2L, or h mod L if that is ≥ N.
local function bucket_number(fingerprint, buckets, low)
  local place = hash(fingerprint, low * 2)
  return place < buckets and place or hash(fingerprint, low)
end

local function twin_of(fingerprint)
  local last = string.byte(fingerprint, -1)
  return string.sub(fingerprint, 1, -2) .. string.char(last % 2 == 0 and last + 1 or last - 1)
end
