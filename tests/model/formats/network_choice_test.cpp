#include "model/formats/network_choice.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "model/io/error.h"

namespace vmla::model {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Pair;

const std::vector<std::string> kOwn = {
    "conv.weight", "conv.bias", "layers.0.gain", "layers.1.gain"};

std::vector<std::string> under(const std::string& prefix) {
  std::vector<std::string> names;
  for (const std::string& own : kOwn) names.push_back(prefix + own);
  return names;
}

std::vector<std::string> joined(std::vector<std::string> a, const std::vector<std::string>& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

NetworkChoice choose(const std::vector<std::string>& names, const std::string& role = {}) {
  const auto is_own = [](std::string_view name) { return std::ranges::count(kOwn, name) > 0; };
  return choose_network(names, is_own, "conv.weight", role, "w.pt");
}

std::string problem(const std::vector<std::string>& names, const std::string& role = {}) {
  try {
    choose(names, role);
  } catch (const UserError& error) {
    return error.what();
  }
  return "none";
}

TEST(NetworkChoice, AnyPrefixIsRecognised) {
  for (const std::string prefix : {"",
                                   "model.",
                                   "module.",
                                   "model.diffusion_model.",
                                   "state_dict.generator_ema.model.",
                                   "layers.0.",
                                   "conv."}) {
    const NetworkChoice choice = choose(under(prefix));
    EXPECT_EQ(choice.prefix, prefix);
    ASSERT_EQ(choice.names.size(), 4u);
    for (const std::string& own : kOwn) EXPECT_EQ(choice.names.at(own), prefix + own);
  }
}

TEST(NetworkChoice, WrappersGoWhereverTheyStand) {
  const NetworkChoice choice = choose({"model._fsdp_wrapped_module.conv.weight",
                                       "_orig_mod.model.conv.bias",
                                       "model.layers.0._checkpoint_wrapped_module.gain",
                                       "model.layers.1.module.gain"});
  EXPECT_EQ(choice.prefix, "model.");
  EXPECT_EQ(choice.names.at("conv.bias"), "_orig_mod.model.conv.bias");
  EXPECT_EQ(choice.names.at("layers.1.gain"), "model.layers.1.module.gain");
  EXPECT_EQ(without_wrappers("_a.b._c.d._e"), "b.d._e");
}

TEST(NetworkChoice, RolesAreTriedInTheAgreedOrder) {
  auto all = joined(under("critic.model."), under("generator.model."));
  EXPECT_EQ(choose(all).prefix, "generator.model.");
  EXPECT_EQ(choose(all, "critic").prefix, "critic.model.");
  all = joined(all, under("generator_ema.model."));
  EXPECT_EQ(choose(all).prefix, "generator_ema.model.");
  EXPECT_EQ(choose(all, "raw").prefix, "generator.model.");
  EXPECT_THAT(choose(all).others,
              ElementsAre(Pair("critic.model.", 4), Pair("generator.model.", 4)));
  EXPECT_EQ(choose(under("generator_ema."), "raw").prefix, "generator_ema.");
}

TEST(NetworkChoice, WhatBelongsToNoNetworkIsListed) {
  auto names = joined(under("model."), {"model.extra", "vae.conv2.weight", "vae.conv3", "step"});
  const NetworkChoice choice = choose(names);
  EXPECT_EQ(choice.names.at("extra"), "model.extra");
  EXPECT_EQ(list_others(choice.others), "'step' (1 tensor), 'vae.' (2 tensors)");
}

TEST(NetworkChoice, SaysWhatItSaw) {
  EXPECT_THAT(problem({"net.a.x", "net.a.y"}),
              HasSubstr("w.pt: holds no such network: none of its 2 tensors has a name like "
                        "'conv.weight'; all begin with 'net.a.', the first is 'net.a.x'"));
  EXPECT_THAT(problem({"a", "b"}), HasSubstr("share no prefix"));
  EXPECT_THAT(problem({}), HasSubstr("no tensors"));
  EXPECT_THAT(problem(joined(under("real."), under("fake."))),
              HasSubstr("several networks, whose names begin with 'fake.', 'real.'"));
  EXPECT_THAT(problem(under("real."), "critic"), HasSubstr("none of these is 'critic'"));
  EXPECT_THAT(problem(joined(under(""), {"_orig_mod.conv.bias"})), HasSubstr("two tensors"));
}

}  // namespace
}  // namespace vmla::model
