// What strangers may send: every member has bounds, and a token tells who is one.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "launch/launcher/control_message.h"
#include "launch/launcher/peer_proof.h"
#include "model/io/error.h"
#include "tests/support/temporary_folder.h"

namespace vmla::launch {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

std::string hello(const std::string& member, const std::string& value) {
  std::string text = R"({"type":"hello","version":"1","node":1,"nodes":2,"workers":4,"host":"h"})";
  const size_t begin = text.find("\"" + member + "\":") + member.size() + 3;
  return text.replace(begin, text.find_first_of(",}", begin) - begin, value);
}

std::string start(const std::string& member, const std::string& value) {
  std::string text = R"({"type":"start","attempt":0,"max_restarts":0,"master_port":1,"run_id":"r",)"
                     R"("master_addr":"n","workers_per_node":[1]})";
  const size_t begin = text.find("\"" + member + "\":") + member.size() + 3;
  return text.replace(begin, text.find_first_of(",}", begin) - begin, value);
}

TEST(MessageBounds, EveryMemberHasSome) {
  EXPECT_NO_THROW(decode(hello("node", "1")));
  EXPECT_NO_THROW(decode(start("attempt", "1")));
  const std::string failed =
      R"({"type":"failed","attempt":0,"rank":0,"host":"h","exit_code":0,"signal":0,)"
      R"("after_stop":false,"seconds":%,"last_lines":"","message":""})";
  const auto seconds = [&](const std::string& value) {
    std::string text = failed;
    return text.replace(text.find('%'), 1, value);
  };
  EXPECT_NO_THROW(decode(seconds("1.5")));
  for (const std::string& line : {hello("workers", "9223372036854775807"),
                                  hello("workers", "9223372036854775808"),
                                  hello("workers", "18446744073709551616"),
                                  hello("workers", "0"),
                                  hello("workers", "1.5"),
                                  hello("workers", "1e3"),
                                  hello("node", "-1"),
                                  hello("nodes", "5000"),
                                  hello("host", "7"),
                                  hello("host", "\"" + std::string(256, 'h') + "\""),
                                  hello("version", "null"),
                                  start("run_id", R"("../../etc")"),
                                  start("run_id", R"("/etc")"),
                                  start("run_id", R"("..")"),
                                  start("run_id", R"("a\u0000b")"),
                                  start("run_id", R"("")"),
                                  start("workers_per_node", "[]"),
                                  start("workers_per_node", "[0]"),
                                  start("workers_per_node", "{}"),
                                  start("workers_per_node", R"(["1"])"),
                                  start("master_port", "0"),
                                  start("master_port", "65536"),
                                  start("master_addr", R"("a\nb")"),
                                  start("attempt", "-1"),
                                  start("max_restarts", "-1"),
                                  seconds("-1"),
                                  seconds("1e300"),
                                  seconds("null"),
                                  std::string(R"({"type":"signal","number":19,"at_once":false})"),
                                  std::string(R"({"type":"signal","number":9,"at_once":false})"),
                                  std::string(R"({"type":"finish","status":256,"why":""})"),
                                  std::string(R"({"type":"finish","status":-1,"why":""})"),
                                  std::string(R"({"type":7})"),
                                  std::string(100'000, '['),
                                  "\"" + std::string(kLongestMessage, 'x') + "\""}) {
    EXPECT_THAT(error_of<RunError>([&] { decode(line); }), HasSubstr("not a message")) << line;
  }
}

TEST(MessageBounds, WhatIsRefusedIsShownWithoutItsControlCharacters) {
  const std::string said =
      error_of<RunError>([] { decode("{\"type\":\"\\u001b[2J\",\"a\":\"\033[31m\u009b\"}"); });
  EXPECT_THAT(said, Not(HasSubstr("\033")));
  EXPECT_THAT(said, Not(HasSubstr("\u009b")));
}

TEST(PeerProof, FitsOneTokenOneChallengeAndOneHello) {
  const std::string token(16, 't'), other(16, 'u'), challenge = random_nonce();
  Hello hello{"1", 1, 2, 4, "h", random_nonce(), ""};
  const std::string proof = member_proof(token, challenge, hello);
  EXPECT_EQ(proof.size(), 64u);
  EXPECT_TRUE(same_proof(proof, member_proof(token, challenge, hello)));
  EXPECT_FALSE(same_proof(proof, member_proof(other, challenge, hello)));
  EXPECT_FALSE(same_proof(proof, member_proof(token, random_nonce(), hello)));
  EXPECT_FALSE(same_proof(proof, ""));
  // What the node says of itself is proven with it.
  Hello forged = hello;
  forged.workers = 5;
  EXPECT_FALSE(same_proof(proof, member_proof(token, challenge, forged)));
  // No text can move from one member to the next.
  forged = hello;
  forged.version = "11";
  forged.host = "";
  EXPECT_FALSE(same_proof(proof, member_proof(token, challenge, forged)));
  // A member's proof, sent back, is none of node 0's.
  EXPECT_FALSE(same_proof(proof, coordinator_proof(token, challenge, hello.nonce)));
  EXPECT_EQ(member_proof("", challenge, hello), "");
  EXPECT_NE(random_nonce(), random_nonce());
}

TEST(PeerProof, TheTokenComesFromAFileOrTheEnvironment) {
  const TemporaryFolder folder;
  const std::string token(32, 'x');
  write_bytes(folder / "token", " " + token + "\r\n");
  EXPECT_EQ(job_token(folder / "token", nullptr), token);
  EXPECT_EQ(job_token(folder / "token", "another-one-in-the-environment"), token);
  EXPECT_EQ(job_token("", token.c_str()), token);
  EXPECT_EQ(job_token("", nullptr), "");
  EXPECT_EQ(job_token("", ""), "");
  EXPECT_THAT(error_of<UserError>([] { job_token("", "short"); }),
              HasSubstr("VMLA_RDZV_TOKEN: a token has 16 to 4096 bytes, this one 5"));
  EXPECT_THAT(error_of<UserError>([&] { job_token(folder / "none", nullptr); }),
              HasSubstr("--rdzv-token-file"));
  EXPECT_THAT(error_of<UserError>([&] { job_token(folder.path(), nullptr); }),
              HasSubstr("no file"));
  write_bytes(folder / "long", std::string(5000, 'x'));
  EXPECT_THAT(error_of<UserError>([&] { job_token(folder / "long", nullptr); }),
              HasSubstr("more than 4096"));
}

}  // namespace
}  // namespace vmla::launch
