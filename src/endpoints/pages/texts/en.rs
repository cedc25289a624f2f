//! English.

use super::Texts;

pub const TEXTS: Texts = Texts {
    lang: "en",
    sign_in: "Sign in",
    sign_in_to: "to continue to {client}",
    username: "Username",
    password: "Password",
    remember: "Keep me signed in on this device",
    wrong: "That username and password do not match. Check both and try again.",
    throttled: "There were too many attempts. Wait {seconds} seconds, then try again.",
    throttled_long: "There were too many attempts. Wait {minutes} minutes, then try again.",
    consent: "Allow access?",
    consent_asks: "{client} asks for access to your account.",
    consent_scopes: "What it asks for:",
    signed_in_as: "Signed in as {user}",
    goes_to: "Afterwards you will be sent to {host}.",
    allow: "Allow",
    deny: "Deny",
    expired: "This page has expired",
    expired_text: "It was open for too long. Nothing is lost: start again and sign in.",
    start_again: "Start again",
    reference: "Reference: {id}",
    broken_link: "This link does not work",
    broken_link_advice: "Go back to the application and try again. If that does not help, tell the people who run it. \
                         Nothing was sent to anybody.",
    client_missing: "It does not say, in one word, which application you come from.",
    client_unknown: "It comes from an application that is not known here.",
    redirect_missing: "It does not say, in one word, where to send you afterwards.",
    redirect_unknown: "It would send you to an address that is not registered for the application.",
    too_long: "It is too long.",
    other_browser: "This form does not belong to this browser",
    other_browser_text: "It was opened elsewhere, or your browser did not send the cookie that came with it. Allow \
                         cookies for this site and begin anew from the application.",
    other_sign_in: "This sign-in does not belong to this browser",
    other_sign_in_text: "It was begun elsewhere, it is over already, or your browser did not send the cookie that \
                         came with it. Allow cookies for this site and begin anew from the application.",
    unreadable: "This form could not be read",
    unreadable_text: "Something in it is missing or was changed. Go back to the application and try again.",
    failed: "Something went wrong here",
    failed_text: "It is not your fault. Please try again in a moment.",
};
