// SPDX-License-Identifier: Apache-2.0
#define PY_SSIZE_T_CLEAN
#include "verifier/sandbox/spawner/python.h"

#include <Python.h>
#include <unistd.h>

#include <cstdlib>
#include <utility>

namespace hone {
namespace {

// Held before any candidate could replace them.
PyObject* join_threads = nullptr;
PyObject* run_atexit = nullptr;

// exit and quit, which isolated mode leaves out; one state of random for all runs; then what is
// warm is out of the collector's way.
constexpr char kPrepare[] = R"(
import gc, random, site
random.seed(20240601)
site.setquit()
site.setcopyright()
site.sethelper()
gc.collect()
gc.freeze()
del gc, random, site
)";

// The interpreter's own folders alone: nothing of the host's site-packages, no user folder.
bool SetPaths(PyConfig* config) {
  const std::wstring version =
      std::to_wstring(PY_MAJOR_VERSION) + L"." + std::to_wstring(PY_MINOR_VERSION);
  const std::wstring base = L"/usr/lib/python" + version;
  config->module_search_paths_set = 1;
  for (const std::wstring& path : {base, base + L"/lib-dynload"}) {
    if (PyStatus_Exception(PyWideStringList_Append(&config->module_search_paths, path.c_str()))) {
      return false;
    }
  }
  return !PyStatus_Exception(PyConfig_SetString(config, &config->executable, L"/usr/bin/python3"));
}

bool Initialise() {
  PyPreConfig before;
  PyPreConfig_InitIsolatedConfig(&before);
  before.utf8_mode = 1;
  if (PyStatus_Exception(Py_PreInitialize(&before))) return false;
  PyConfig config;
  PyConfig_InitIsolatedConfig(&config);
  config.site_import = 0;
  config.use_hash_seed = 1;
  config.hash_seed = 0;
  config.write_bytecode = 0;
  config.install_signal_handlers = 1;  // SIGPIPE is an exception, as in python3
  const bool started = SetPaths(&config) && !PyStatus_Exception(Py_InitializeFromConfig(&config));
  PyConfig_Clear(&config);
  return started;
}

PyObject* Attribute(const char* module_name, const char* name) {
  PyObject* module = PyImport_ImportModule(module_name);
  if (module == nullptr) return nullptr;
  PyObject* attribute = PyObject_GetAttrString(module, name);
  Py_DECREF(module);
  return attribute;
}

// Calls and lets go of the result; an exception is shown on stderr, as the interpreter does.
void Call(PyObject* callable) {
  PyObject* result = PyObject_CallNoArgs(callable);
  if (result == nullptr) PyErr_WriteUnraisable(callable);
  Py_XDECREF(result);
}

// Returns false where the stream could not take its last bytes.
bool Flush(const char* name) {
  PyObject* stream = PySys_GetObject(name);
  if (stream == nullptr || stream == Py_None) return true;
  PyObject* closed = PyObject_GetAttrString(stream, "closed");
  const bool is_closed = closed != nullptr && PyObject_IsTrue(closed) == 1;
  Py_XDECREF(closed);
  PyErr_Clear();
  if (is_closed) return true;
  PyObject* result = PyObject_CallMethod(stream, "flush", nullptr);
  if (result == nullptr) PyErr_WriteUnraisable(stream);
  Py_XDECREF(result);
  return result != nullptr;
}

// The exit code of a SystemExit that is being raised, or -1 where it is another exception.
int SystemExitCode() {
  if (!PyErr_ExceptionMatches(PyExc_SystemExit)) return -1;
  PyObject *type, *value, *trace;
  PyErr_Fetch(&type, &value, &trace);
  PyErr_NormalizeException(&type, &value, &trace);
  PyObject* code = PyObject_GetAttrString(value, "code");
  int result = 1;
  if (code == nullptr || code == Py_None) {
    result = 0;
  } else if (PyLong_Check(code)) {
    result = static_cast<int>(PyLong_AsLong(code)) & 0xFF;
  } else {
    PyObject* errors = PySys_GetObject("stderr");
    if (errors != nullptr) PyFile_WriteObject(code, errors, Py_PRINT_RAW);
    PySys_WriteStderr("\n");
  }
  PyErr_Clear();
  return result;
}

// What finalisation would do that can be seen from outside. Tearing the interpreter down as well
// would cost as much as a small run. The program's objects are let go for files it never closed.
[[noreturn]] void Leave(int code) {
  PyThreadState* const first = PyInterpreterState_ThreadHead(PyInterpreterState_Get());
  if (PyThreadState_Next(first) != nullptr) Call(join_threads);
  Call(run_atexit);
  const bool flushed = Flush("stdout");
  Flush("stderr");
  if (!flushed && code == 0) code = 120;  // as python3 does
  for (const auto& [name, original] :
       {std::pair{"stdin", "__stdin__"}, std::pair{"stdout", "__stdout__"},
        std::pair{"stderr", "__stderr__"}, std::pair{"excepthook", "__excepthook__"}}) {
    PySys_SetObject(name, PySys_GetObject(original));
  }
  for (const char* name : {"last_type", "last_value", "last_traceback"}) {
    PySys_SetObject(name, nullptr);
  }
  PyDict_DelItemString(PyImport_GetModuleDict(), "__main__");
  PyGC_Collect();
  PyErr_Clear();
  Flush("stdout");
  _exit(code);
}

// A new __main__, for the old one is frozen with all that is warm and would never be collected.
// Returns its globals, borrowed.
PyObject* FreshMain(PyObject* file) {
  PyObject* main = PyModule_New("__main__");
  PyObject* globals = PyModule_GetDict(main);
  PyObject* annotations = PyDict_New();
  PyDict_SetItemString(globals, "__annotations__", annotations);
  PyDict_SetItemString(globals, "__builtins__", PyImport_AddModule("builtins"));
  PyDict_SetItemString(globals, "__file__", file);
  PyDict_SetItemString(PyImport_GetModuleDict(), "__main__", main);
  Py_DECREF(annotations);
  Py_DECREF(main);
  return globals;
}

PyObject* Compile(const std::string& source, const std::string& name) {
  PyObject* builtins = PyEval_GetBuiltins();
  PyObject* compile = PyDict_GetItemString(builtins, "compile");
  return PyObject_CallFunction(compile, "y#sz", source.data(),
                               static_cast<Py_ssize_t>(source.size()), name.c_str(), "exec");
}

}  // namespace

Failure WarmPython(const std::vector<std::string>& modules) {
  errno = 0;
  if (!Initialise()) return Failed(JailStep::kPython, "the interpreter does not start");
  for (const std::string& name : modules) {
    PyObject* module = PyImport_ImportModule(name.c_str());
    if (module == nullptr) {
      errno = ENOENT;
      return Failed(JailStep::kPython, "import " + name);
    }
    Py_DECREF(module);
  }
  join_threads = Attribute("threading", "_shutdown");
  run_atexit = Attribute("atexit", "_run_exitfuncs");
  const int prepared = PyRun_SimpleString(kPrepare);
  if (join_threads == nullptr || run_atexit == nullptr || prepared != 0) {
    return Failed(JailStep::kPython, "preparing the interpreter");
  }
  return {};
}

void RunPython(const std::string& source, const std::string& name, bool box) {
  // No PyOS_AfterFork_Child: it is for other threads that are gone, and the spawner has none; its
  // hooks would reseed random, and it costs as much as a small program.
  PyObject* text = PyUnicode_FromString(name.c_str());
  PyObject* globals = FreshMain(text);
  PyObject* argv = PyList_New(0);
  PyList_Append(argv, text);
  PySys_SetObject("argv", argv);
  PyObject* path = PySys_GetObject("path");
  if (box) {
    PyObject* folder = PyUnicode_FromString("/box");
    PyList_Insert(path, 0, folder);
    Py_DECREF(folder);
  }
  PyObject* code = Compile(source, name);
  PyObject* result = code == nullptr ? nullptr : PyEval_EvalCode(code, globals, globals);
  Py_XDECREF(code);
  int exit_code = 0;
  if (result == nullptr) {
    exit_code = SystemExitCode();
    if (exit_code < 0) {
      exit_code = 1;
      PyErr_Print();
    }
  }
  Py_XDECREF(result);
  Py_DECREF(text);
  Py_DECREF(argv);
  Leave(exit_code);
}

}  // namespace hone
