#!/usr/bin/python3
"""guestfish, qemu-img and virt-v2v-in-place for unit tests: a guest is a directory tree.

Beside the program lies guest.json:
  tree      the guest's files
  answers   what a command answers, by the whole command or by its name
  refused   patterns of paths that cannot be written: the disk is full
  sh        commands of the guest: [pattern, exit code, output, {path: local file}]
  dies      patterns of commands that end guestfish
  hive      the registry: keys are objects, values are strings of hexadecimal digits; a hive that is JSON
            counts in its place
  v2v       exit code and output of virt-v2v-in-place
  v2v_writes  files that it writes into the guest: path to text; what it is given goes to v2v.json
An overlay is a file that names its own copy of the tree.
"""
import fnmatch, glob, hashlib, json, os, re, shlex, shutil, subprocess, sys, tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
GUEST = json.load(open(os.path.join(HERE, "guest.json")))


def copy(tree):
    new = tempfile.mkdtemp(dir=HERE)
    shutil.copytree(tree, new, symlinks=True, dirs_exist_ok=True)
    return new


def qemu_img(args):
    if args[0] == "create":
        with open(args[-1], "w") as overlay:
            overlay.write(copy(GUEST["tree"]))
    elif args[0] == "commit":
        shutil.rmtree(GUEST["tree"])
        shutil.copytree(open(args[-1]).read(), GUEST["tree"], symlinks=True)


def virt_v2v(args):
    if args == ["--version"]:
        print("virt-v2v-in-place 2.2.0")
        return
    with open(os.path.join(HERE, "v2v.json"), "w") as log:
        json.dump({"args": args, "environment": dict(os.environ)}, log)
    overlay = re.search("source file='([^']*)'", open(args[-1]).read()).group(1)
    for path, text in GUEST.get("v2v_writes", {}).items():
        path = os.path.join(open(overlay).read(), path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        open(path, "w").write(text)
    code, said = GUEST["v2v"]
    print(said, file=sys.stderr)
    sys.exit(code)


class Refused(Exception):
    pass


class Guestfish:
    tree = GUEST["tree"]
    nodes = []

    def at(self, path):
        return self.tree + "/" + path.lstrip("/")

    def may_write(self, path):
        if any(fnmatch.fnmatch(path, pattern) for pattern in GUEST.get("refused", [])):
            raise Refused("No space left on device")

    def write(self, path, content):
        self.may_write(path)
        with open(self.at(path), "wb") as file:
            file.write(content)

    def sh(self, script):
        for pattern, code, said, files in GUEST.get("sh", []):
            if re.search(pattern, script):
                for path, local in files.items():
                    self.write(path, open(local, "rb").read())
                return [said, "it went badly" if code else "it went well"]
        return ["not found", "it went badly"]

    def node(self, key):
        """Handles of the registry are places in a list; 0 is none."""
        if key is None:
            return ["0"]
        self.nodes.append(key)
        return [str(len(self.nodes))]

    def child(self, handle, name, kind):
        parent = self.nodes[int(handle) - 1]
        found = [v for k, v in parent.items() if k.lower() == name.lower()]
        return self.node(next((v for v in found if isinstance(v, kind)), None))

    def answer(self, words):
        name, args = words[0], words[1:]
        for key in (" ".join(words), name):
            if key in GUEST.get("answers", {}):
                return GUEST["answers"][key]
        yes = lambda truth: ["true" if truth else "false"]
        if name == "add-drive":
            self.tree = open(args[0]).read()
        elif name == "is-file":
            return yes(os.path.isfile(self.at(args[0])))
        elif name == "is-dir":
            return yes(os.path.isdir(self.at(args[0])))
        elif name == "exists":
            return yes(os.path.lexists(self.at(args[0])))
        elif name == "checksum":
            return [hashlib.new(args[0], open(self.at(args[1]), "rb").read()).hexdigest()]
        elif name == "filesize":
            return [str(os.path.getsize(self.at(args[0])))]
        elif name == "glob-expand":
            found = sorted(glob.glob(self.at(args[0])))
            return ["/" + os.path.relpath(path, self.tree) for path in found]
        elif name == "download":
            shutil.copyfile(self.at(args[0]), args[1])
        elif name == "download-offset":
            content = open(self.at(args[0]), "rb").read(int(args[3]))
            open(args[1], "wb").write(content)
        elif name == "upload":
            self.write(args[1], open(args[0], "rb").read())
        elif name in ("cp-a", "cp-r", "mv"):
            self.write(args[1], open(self.at(args[0]), "rb").read())
            if name == "mv":
                os.remove(self.at(args[0]))
        elif name == "mkdir-p":
            if not os.path.isdir(self.at(args[0])):
                self.may_write(args[0])
                os.makedirs(self.at(args[0]))
        elif name == "touch":
            self.write(args[0], b"")
        elif name in ("rm-f", "rm-rf"):
            if os.path.exists(self.at(args[0])):
                os.remove(self.at(args[0]))
        elif name == "sh":
            return self.sh(args[0])
        elif name == "case-sensitive-path":
            return [self.spelled(args[0])]
        elif name == "hivex-open":
            text = open(self.at(args[0])).read()
            self.hive = json.loads(text) if text.startswith("{") else GUEST["hive"]
        elif name == "hivex-root":
            return self.node(self.hive)
        elif name == "hivex-node-get-child":
            return self.child(args[0], args[1], dict)
        elif name == "hivex-node-get-value":
            return self.child(args[0], args[1], str)
        elif name == "hivex-value-value":
            return bytes.fromhex(self.nodes[int(args[0]) - 1])
        return []

    def spelled(self, path):
        real = ""
        for part in path.strip("/").split("/"):
            folder = self.at(real)
            names = os.listdir(folder) if os.path.isdir(folder) else []
            same = [name for name in names if name.lower() == part.lower()]
            if not same and not os.path.isdir(folder):
                raise Refused("No such file or directory")
            real += "/" + (same + [part])[0]
        return real

    def speak(self, line):
        goes_on, line = line.startswith("-"), line.lstrip("-")
        command, _, pipe = line.partition(" | od")
        words = [word.replace("\\n", "\n") for word in shlex.split(command)]
        if words[0] == "echo":
            print(words[1], flush=True)
            return
        if words[0].startswith("end"):
            print(words[0] + ": unknown command", file=sys.stderr, flush=True)
            return
        if any(re.search(pattern, " ".join(words)) for pattern in GUEST.get("dies", [])):
            sys.exit(1)
        try:
            answer = self.answer(words)
        except (Refused, OSError) as why:
            print("libguestfs: error: %s: %s" % (words[0], why), file=sys.stderr, flush=True)
            if not goes_on:
                sys.exit(1)
            return
        if pipe:
            answer = subprocess.run("/usr/bin/od" + pipe, shell=True, input=answer, capture_output=True)
            answer = answer.stdout.decode().splitlines()
        for said in answer:
            print(said)
        sys.stdout.flush()


def guestfish(args):
    if args == ["--version"]:
        print("guestfish 1.48.6")
        return
    fish = Guestfish()
    for line in sys.stdin:
        fish.speak(line.rstrip("\n"))


NAMES = {"qemu-img": qemu_img, "virt-v2v-in-place": virt_v2v, "guestfish": guestfish}
NAMES[os.path.basename(sys.argv[0])](sys.argv[1:])
