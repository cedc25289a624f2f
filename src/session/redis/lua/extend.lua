-- State::extend. ARGV: 4 epoch, 5 lease in milliseconds.
local session, refused = read()
if refused then return refused end
local vouched = session and session.vouched
if not vouched or not vouched.intent or (vouched.epoch or 0) ~= tonumber(ARGV[4]) then return answer(0) end
vouched.intent.lapses = at + tonumber(ARGV[5])
write(session)
return answer(1)
