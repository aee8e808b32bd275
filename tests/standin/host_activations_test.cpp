// Streams of offloaded activations, whose hazards the stand-in finds and no comparison of bits
// does.
#include "model/network/host_activations.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "tests/standin/standin_fixture.h"

namespace vmla::standin {
namespace {

using model::HostActivations;

at::Tensor filled(double value) {
  return at::full({1 << 16}, value, at::Device(kGpu));
}

class HostActivationsOnTheStandin : public Standin {};

TEST_F(HostActivationsOnTheStandin, ComeBackInTheOppositeOrder) {
  HostActivations activations(kGpu);
  std::vector<std::shared_ptr<HostActivations::Away>> away;
  for (int i = 0; i < 4; ++i) away.push_back(activations.put({filled(i), at::Tensor()}));
  EXPECT_EQ(activations.host_bytes(), 4 * 4 * (1 << 16));
  for (int i = 3; i >= 0; --i) {
    const HostActivations::Group group = activations.take(away[static_cast<size_t>(i)]);
    ASSERT_EQ(group.size(), 2U);
    EXPECT_TRUE(group[0].cpu().eq(i).all().item<bool>());
    EXPECT_FALSE(group[1].defined());
  }
}

// An error drops what was on its way: its memory on the device is given to others.
TEST_F(HostActivationsOnTheStandin, AGroupThatIsDroppedOnItsWayBack) {
  HostActivations activations(kGpu);
  auto first = activations.put({filled(1)});
  auto second = activations.put({filled(2)});
  const auto third = activations.put({filled(3)});
  activations.take(third);  // the second sets out
  second.reset();
  EXPECT_EQ(refusal([] {
              for (int i = 0; i < 8; ++i) filled(4).add_(1);
            }),
            "");
  // The place on the host is free for the next group.
  const int64_t before = activations.host_bytes();
  const auto fourth = activations.put({filled(5)});
  EXPECT_EQ(activations.host_bytes(), before);
  EXPECT_TRUE(activations.take(fourth)[0].cpu().eq(5).all().item<bool>());
  EXPECT_TRUE(activations.take(first)[0].cpu().eq(1).all().item<bool>());
}

// A forward whose backward never comes, as of a step that is stopped.
TEST_F(HostActivationsOnTheStandin, GroupsThatAreNeverTaken) {
  EXPECT_EQ(refusal([] {
              {
                HostActivations activations(kGpu);
                std::vector<std::shared_ptr<HostActivations::Away>> away;
                for (int i = 0; i < 3; ++i) away.push_back(activations.put({filled(i)}));
                away.clear();
              }
              for (int i = 0; i < 8; ++i) filled(i).add_(1);
            }),
            "");
}

}  // namespace
}  // namespace vmla::standin
