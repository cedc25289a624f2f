-- Ends a session that is alive. ARGV: 4 reason.
local session, refused = read()
if refused then return refused end
if not session or not is_alive(session) then return answer(0) end
return answer(1, revoke(session, ARGV[4]))
