#include "launch/launcher/endpoint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "model/io/error.h"
#include "tests/support/temporary_folder.h"

namespace vmla::launch {
namespace {

using ::testing::HasSubstr;

TEST(Endpoint, HostsNamesAndAddresses) {
  EXPECT_EQ(parse_endpoint("node-0.cluster:29400").host, "node-0.cluster");
  EXPECT_EQ(parse_endpoint("[fe80::1]:80").host, "fe80::1");
  EXPECT_EQ(parse_endpoint("[::1]:65535").port, 65535);
  for (const char* text :
       {"node0", "node0:", ":1", "node0:0", "node0:65536", "node0:a", "::1:80"}) {
    EXPECT_THAT(error_of<UserError>([&] { parse_endpoint(text); }), HasSubstr("HOST:PORT")) << text;
  }
}

}  // namespace
}  // namespace vmla::launch
