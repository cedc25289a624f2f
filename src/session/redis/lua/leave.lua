-- State::leave. ARGV: 4 epoch, 5 whether it is left in doubt.
local session, refused = read()
if refused then return refused end
local vouched = session and session.vouched
if not vouched or not vouched.intent or (vouched.epoch or 0) ~= tonumber(ARGV[4]) then return answer(0) end
local doubtful, again = ARGV[5] == '1', vouched.intent.again
if doubtful == (again or false) then
  -- Nothing was sent at the first attempt, or the second one was made.
  vouched.intent = nil
else
  vouched.intent.lapses = at
  if doubtful then vouched.doubtful = true end
end
write(session)
return answer(1)
