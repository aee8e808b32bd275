#include "launch/error_report.h"

#include <chrono>
#include <cstdlib>
#include <exception>
#include <new>
#include <thread>

#include "model/io/error.h"
#include "model/io/log.h"

namespace vmla::launch {
namespace {

std::string first_line(const std::string& text) {
  return text.substr(0, text.find('\n'));
}

}  // namespace

int report_fault(const std::string& message) {
  log::error("vmla: error: {}", first_line(message));
  return kFault;
}

// Our own messages are one line; a line feed in one comes from a name in it, and the log shows it
// as \x0a. Those of libraries go on with what is for a debugger.
int report_exception() {
  try {
    throw;
  } catch (const UserError& error) {
    log::error("vmla: error: {}", error.what());
    return kWrongInput;
  } catch (const RunError& error) {
    log::error("vmla: error: {}", error.what());
    return kFault;
  } catch (const StopRequested& stop) {
    log::warn("vmla: stopped: {}", stop.what());
    return kStopped;
  } catch (const std::bad_alloc&) {
    return report_fault("out of memory");
  } catch (const std::exception& error) {
    return report_fault(error.what());
  } catch (...) {
    return report_fault("an exception of an unknown type");
  }
}

void exit_for_peers(int status, const std::string& message) {
  log::error("vmla: error: {}", message);
  std::this_thread::sleep_for(std::chrono::seconds(1));
  std::_Exit(status);
}

void exit_after_peer_reports(int status) {
  std::this_thread::sleep_for(std::chrono::seconds(3));
  std::_Exit(status);
}

}  // namespace vmla::launch
