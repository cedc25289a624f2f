-- State::intend. ARGV: 4 generation that was seen, 5 owner, 6 lease in milliseconds, 7 a number below 8 that was drawn for
-- this step, 8 how many numbers there are.
-- An epoch is a count and that number: a server that has lost the last steps counts anew from where it is, and what it
-- hands out then must not be what somebody was given before.
local session, refused = read()
if refused then return refused end
if not session or session.revoked or now >= session.absolute or not session.vouched then return answer('gone') end
local vouched = session.vouched
if vouched.generation ~= tonumber(ARGV[4]) then return answer('moved') end
local again = false
local number, numbers = tonumber(ARGV[7]), tonumber(ARGV[8])
local epoch = vouched.epoch or 0
if vouched.intent and vouched.intent.owner == ARGV[5] and epoch % numbers == number then
  -- The same step once more, whose first outcome was not known.
  vouched.intent.lapses = at + tonumber(ARGV[6])
  write(session)
  return answer('go', epoch, vouched.doubtful and 1 or 0, vouched.intent.again and 1 or 0)
end
if vouched.intent then
  if vouched.intent.owner ~= ARGV[5] and at < vouched.intent.lapses then
    return answer('held', math.min(vouched.intent.lapses - at, tonumber(ARGV[6])))
  end
  vouched.doubtful = true
  again = true
end
vouched.epoch = (math.floor(epoch / numbers) + 1) * numbers + number
vouched.intent = { owner = ARGV[5], lapses = at + tonumber(ARGV[6]), again = again or nil }
write(session)
return answer('go', vouched.epoch, vouched.doubtful and 1 or 0, again and 1 or 0)
