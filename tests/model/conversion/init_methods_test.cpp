#include "model/conversion/init_methods.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace vmla::model {
namespace {

using testing::HasSubstr;

TEST(InitMethods, AreFoundByName) {
  for (const InitMethod& method : kInitMethods) {
    EXPECT_EQ(find_init_method(method.name), &method);
    EXPECT_FALSE(method.help.empty()) << method.name;
  }
  EXPECT_EQ(find_init_method(""), nullptr);
  EXPECT_EQ(find_init_method("svd"), nullptr);
  EXPECT_NE(find_init_method(kDefaultInitMethod), nullptr);
}

TEST(InitMethods, AreListedInHelpAndMessages) {
  const std::vector<std::string> names = init_method_names();
  ASSERT_EQ(names.size(), std::size(kInitMethods));
  for (size_t i = 0; i < names.size(); ++i) {
    EXPECT_EQ(names[i], kInitMethods[i].name);
    EXPECT_THAT(init_method_choice(), HasSubstr(names[i]));
    EXPECT_THAT(init_method_help(), HasSubstr(names[i]));
    EXPECT_THAT(init_method_help(), HasSubstr(std::string(kInitMethods[i].help)));
  }
  EXPECT_THAT(init_method_choice(), HasSubstr(" or "));
}

}  // namespace
}  // namespace vmla::model
