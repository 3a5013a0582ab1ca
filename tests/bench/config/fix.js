// What somebody would write who wants nginx to route FIX: wait for the end of the first message, refuse what is no Logon, and hand the
// value of SenderCompID to the map. nginx gives the whole buffer at each call.
const MESSAGE_MAX = 8192;

function value(message, tag) {
    const name = '\x01' + tag + '=';
    const at = message.indexOf(name);
    return at < 0 ? '' : message.substring(at + name.length, message.indexOf('\x01', at + name.length));
}

function preread(s) {
    s.on('upload', function (data, flags) {
        if (data.length >= 5 && !data.startsWith('8=FIX')) {
            s.deny();
            return;
        }
        const end = data.indexOf('\x0110=');
        if (end < 0 || data.length < end + 8) {
            if (flags.last || data.length > MESSAGE_MAX) {
                s.deny();
            }
            return;
        }
        const message = data.substring(0, end + 1);
        if (value(message, '35') !== 'A') {
            s.deny();
            return;
        }
        s.variables.sender = value(message, '49');
        s.done();
    });
}

export default { preread };
