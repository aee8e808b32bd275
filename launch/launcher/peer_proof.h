#pragma once

#include <string>

#include "launch/launcher/control_message.h"

/// How launchers that share a token know each other: each proves to the other that it has the
/// token, by an HMAC-SHA256 over random bytes of the other's, without sending it. This keeps
/// strangers out. It does not encrypt, nor does it guard a connection against who can change its
/// packets.
namespace vmla::launch {

/// Where the token may be given besides --rdzv-token-file. Workers do not see it.
inline constexpr char kTokenVariable[] = "VMLA_RDZV_TOKEN";

/// The job's token: what the file holds, without the blanks around it, or where no file is named
/// the value of kTokenVariable. "" without either: everybody who reaches the port may join.
/// UserError where the file cannot be read, or the token is shorter than 16 bytes or longer than
/// 4096.
std::string job_token(const std::string& file, const char* environment);

/// 32 random bytes, as hexadecimal digits.
std::string random_nonce();

/// What a member says to prove that it has the token. `challenge`: node 0's nonce. Covers all of
/// `hello` but the proof itself. "" without a token.
std::string member_proof(const std::string& token,
                         const std::string& challenge,
                         const Hello& hello);
/// What node 0 answers. `nonce`: the member's.
std::string coordinator_proof(const std::string& token,
                              const std::string& challenge,
                              const std::string& nonce);

/// Whether both are the same proof, in a time that does not tell how much of it is right.
bool same_proof(const std::string& a, const std::string& b);

}  // namespace vmla::launch
